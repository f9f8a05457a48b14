//! Both sides of BuildKit, spoken to as its clients do, with a small server in its place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::DuplexStream;
use tokio::net::UnixStream;

use super::control::{Control, Fresh, Taken};
use super::frames::{Frame, Frames};
use super::proxy::{self, Body, Code, Upstream};
use super::session::{self, Session, TakeIn};
use super::solve::Solve;
use super::wire;

const DEADLINE: Duration = Duration::from_secs(60);

fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields {
        wire::put(&mut out, *number, value);
    }
    out
}

fn request(path: &str, message: &[u8]) -> Request<Body> {
    let body = Full::new(Frame::encode(message)).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post(path).header("content-type", "application/grpc");
    request.header("te", "trailers").body(body).unwrap()
}

async fn messages(body: Body) -> (Vec<Bytes>, HeaderMap) {
    let body = tokio::time::timeout(DEADLINE, body.collect()).await.unwrap().unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut frames = Frames::default();
    frames.push(&body.to_bytes());
    let all = std::iter::from_fn(|| frames.next().unwrap().map(|frame| frame.message));
    (all.collect(), trailers)
}

/// A request that came.
struct Asked {
    messages: Vec<Bytes>,
}

/// A server that answers with these bodies by path, and keeps what it was asked.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<BTreeMap<String, Vec<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    async fn answer(self, request: Request<hyper::body::Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let (asked, _) = messages(proxy::through(body)).await;
        self.asked.lock().unwrap().push(Asked { messages: asked });
        let Some(answers) = self.answers.get(&path).cloned() else {
            return proxy::status(Code::Unavailable, "nothing \u{e9}lse is known");
        };
        let frames = answers.into_iter().map(|it| hyper::body::Frame::data(Frame::encode(&it)));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", 0.into());
        trailers.insert("of-the-server", 1.into());
        let frames = frames.chain([hyper::body::Frame::trailers(trailers)]);
        Response::new(proxy::of_frames(futures::stream::iter(frames.map(Ok))))
    }

    fn serve(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let fake = self.clone();
        tokio::spawn(proxy::serve(theirs, move |request| fake.clone().answer(request)));
        ours
    }
}

/// A client of [`Control`] with this server behind it.
async fn client(
    fake: &Fake,
    taken: &Arc<Taken>,
    fresh: &Fresh,
) -> (Upstream, Vec<proxy::Connection>) {
    let (kit, behind) = Upstream::over(fake.serve()).await.unwrap();
    let control = Control::new(kit, taken.clone(), fresh.clone(), "1.2.3.4");
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(proxy::serve(theirs, move |request| control.clone().answer(request)));
    let (client, connection) = Upstream::over(ours).await.unwrap();
    (client, vec![behind, connection])
}

#[tokio::test]
async fn what_a_client_says_goes_through_but_for_the_exporter() {
    let told = message(&[(1, b"sending tarball"), (2, b"v")]);
    let answers = [
        ("/moby.buildkit.v1.Control/Solve", vec![message(&[(1, b"done")])]),
        ("/moby.buildkit.v1.Control/Status", vec![message(&[(2, &told)]), message(&[(3, b"log")])]),
        ("/moby.buildkit.v1.Control/Info", vec![b"as it is".to_vec()]),
    ];
    let answers = answers.map(|(path, answers)| (path.to_owned(), answers)).into();
    let fake = Fake { answers: Arc::new(answers), ..Fake::default() };
    let (taken, fresh) = (Arc::default(), Fresh::default());
    let (client, _connections) = client(&fake, &taken, &fresh).await;

    let attr = message(&[(1, b"name"), (2, b"docker.io/library/a")]);
    let exporter = message(&[(1, b"moby"), (2, &attr)]);
    let solve = message(&[(1, b"ref"), (5, b"session"), (13, &exporter), (77, b"later")]);
    let answer = client.pass(request("/moby.buildkit.v1.Control/Solve", &solve)).await;
    let (answers, trailers) = messages(answer.into_body()).await;
    assert_eq!(answers, [message(&[(1, b"done")])]);
    assert_eq!(trailers["grpc-status"], "0");
    let sent = fake.asked.lock().unwrap()[0].messages[0].clone();
    let expected = message(&[(1, b"docker"), (2, &attr)]);
    let expected = message(&[(1, b"ref"), (5, b"session"), (13, &expected), (77, b"later")]);
    assert_eq!(sent, expected);
    assert!(!taken.has("session", "0"), "the build has ended");

    let asked = message(&[(1, b"ref")]);
    let answer = client.pass(request("/moby.buildkit.v1.Control/Status", &asked)).await;
    let (answers, trailers) = messages(answer.into_body()).await;
    let named = message(&[(1, b"naming to docker.io/library/a"), (2, b"v")]);
    assert_eq!(answers, [message(&[(2, &named)]), message(&[(3, b"log")])]);
    assert_eq!(trailers["of-the-server"], "1");

    let answer = client.pass(request("/moby.buildkit.v1.Control/Info", b"")).await;
    assert_eq!(messages(answer.into_body()).await.0, ["as it is"]);
    let answer = client.pass(request("/elsewhere", b"")).await;
    assert_eq!(answer.headers()["grpc-message"], "nothing %C3%A9lse is known");
    let answer = client.pass(request("/moby.buildkit.v1.Control/Solve", &[0xff])).await;
    assert_eq!(answer.headers()["grpc-status"], "3");
}

#[tokio::test]
async fn archives_are_taken_in_on_their_way_to_the_client() {
    // In BuildKit's place: takes the session, and asks over it.
    let (asking, asked) = tokio::sync::oneshot::channel();
    let asking = Arc::new(Mutex::new(Some(asking)));
    let kit = move |request: Request<hyper::body::Incoming>| {
        let asking = asking.clone();
        async move {
            assert_eq!(request.uri().path(), "/moby.buildkit.v1.Control/Session");
            let (parts, body) = request.into_parts();
            let (near, far) = tokio::io::duplex(64 << 10);
            let answer = session::tunnel(proxy::through(body), far);
            let asking = asking.lock().unwrap().take().unwrap();
            asking.send((parts.headers, near)).map_err(drop).unwrap();
            Response::new(answer)
        }
    };
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(proxy::serve(theirs, kit));
    let (kit, _kit) = Upstream::over(ours).await.unwrap();

    let client = Fake {
        answers: Arc::new(
            [("/moby.filesync.v1.FileSend/DiffCopy".to_owned(), vec![b"of the client".to_vec()])]
                .into(),
        ),
        ..Fake::default()
    };
    let (to_client, _client) = Upstream::over(client.serve()).await.unwrap();
    let came = Arc::new(Mutex::new(Vec::new()));
    let kept = came.clone();
    let take_in: TakeIn = Arc::new(move |mut archive| {
        let kept = kept.clone();
        Box::pin(async move {
            while let Some(piece) = archive.next().await {
                let piece = piece.map_err(|error| model::Error::internal(error.to_string()))?;
                if piece == "bad" {
                    return Err(model::Error::invalid("the archive is refused"));
                }
                kept.lock().unwrap().extend_from_slice(&piece);
            }
            Ok(())
        })
    });
    let mut headers = HeaderMap::new();
    headers.insert("x-docker-expose-session-uuid", "s".parse().unwrap());
    headers.insert("x-docker-expose-session-grpc-method", "/a.B/c".parse().unwrap());
    headers.insert("authorization", "hidden".parse().unwrap());
    let taken: Arc<Taken> = Arc::default();
    let _taking =
        taken.begin(&Solve { session: "s".into(), taken: vec!["0".into()], ..Solve::default() });
    let session = Session::new(to_client, &headers, taken.clone(), take_in);
    let metadata = session::metadata(&headers);
    let held = tokio::spawn(async move { session.hold(&kit, metadata).await });

    let (told, near) = tokio::time::timeout(DEADLINE, asked).await.unwrap().unwrap();
    assert_eq!(told["x-docker-expose-session-uuid"], "s");
    assert_eq!(told.get_all("x-docker-expose-session-grpc-method").iter().count(), 2);
    assert!(!told.contains_key("authorization"));
    let (over, asking) = Upstream::over(near).await.unwrap();
    let send = |exporter: &str, pieces: &[&str]| {
        let frames: Vec<_> = pieces
            .iter()
            .map(|it| Ok(hyper::body::Frame::data(Frame::encode(&message(&[(1, it.as_bytes())])))))
            .collect();
        let request = Request::post("/moby.filesync.v1.FileSend/DiffCopy");
        let request = request.header("buildkit-attachable-exporter-id", exporter);
        over.pass(request.body(proxy::of_frames(futures::stream::iter(frames))).unwrap())
    };
    let answer = send("0", &["one ", "", "two"]).await;
    assert_eq!(answer.headers()["grpc-status"], "0");
    assert_eq!(*came.lock().unwrap(), b"one two");
    let answer = send("0", &["bad", "more"]).await;
    assert_eq!(answer.headers()["grpc-message"], "the archive is refused");
    let answer = send("1", &["x"]).await;
    assert_eq!(messages(answer.into_body()).await.0, ["of the client"], "of another exporter");
    assert_eq!(client.asked.lock().unwrap().len(), 1);
    drop((over, asking));
    tokio::time::timeout(DEADLINE, held).await.unwrap().unwrap();
}
