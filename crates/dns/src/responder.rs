//! From one message to its answer: may he ask, is it ours, or who else knows.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};

use crate::forwarder::{Forwarder, Question};
use crate::index::{Asker, Called, Found, Index};
use crate::reply::{self, Transport};
use crate::zones::Change;

/// Answers from the index that is current, and asks others for the rest.
#[derive(Debug)]
pub(crate) struct Responder {
    index: RwLock<Arc<Index>>,
    pub(crate) forwarder: Arc<Forwarder>,
    turn: AtomicUsize,
}

/// What came of a message.
pub(crate) enum Outcome {
    /// Nothing is said: it was no question.
    Silence,
    /// This is said.
    Reply(Vec<u8>),
    /// Others have to be asked first.
    Ask(Box<Pending>),
}

/// A question that waits for others.
pub(crate) struct Pending {
    request: Message,
    question: Question,
    /// The name that was asked for, where it stands for the one that others are asked for.
    alias: Option<Record>,
    transport: Transport,
}

impl Responder {
    pub(crate) fn new(forwarder: Forwarder) -> Self {
        let turn = AtomicUsize::new(0);
        Self { index: RwLock::default(), forwarder: Arc::new(forwarder), turn }
    }

    /// Answers from `index` from now on.
    pub(crate) fn set(&self, index: Index) {
        *self.index.write().expect("no holder of the lock panics") = Arc::new(index);
    }

    /// Answers from a changed index from now on. It is held for as long as a question is looked up.
    pub(crate) fn change(&self, change: &Change) {
        let mut index = self.index.write().expect("no holder of the lock panics");
        Arc::make_mut(&mut index).change(change);
    }

    /// What is to be done about a message that came from `source` to our address `listen`.
    pub(crate) fn consider(
        &self,
        listen: IpAddr,
        source: IpAddr,
        bytes: &[u8],
        transport: Transport,
    ) -> Outcome {
        let request = match Message::from_vec(bytes) {
            Ok(request) => request,
            Err(_) => return malformed(bytes),
        };
        // An answer is never answered, or two servers could talk to each other for ever.
        if request.metadata.message_type == MessageType::Response {
            return Outcome::Silence;
        }
        let index = self.index.read().expect("no holder of the lock panics").clone();
        let Some(asker) = index.asker(listen, source) else {
            let refused = reply::empty(&request, ResponseCode::Refused);
            return Outcome::Reply(reply::encode(&request, refused, transport));
        };
        match self.local(&index, &asker, &request) {
            Local::Reply(reply) => Outcome::Reply(reply::encode(&request, reply, transport)),
            Local::Ask(question, alias) => match self.forwarder.kept(&question) {
                Some(kept) => {
                    let reply = reply::relayed(&request, &kept, alias);
                    Outcome::Reply(reply::encode(&request, reply, transport))
                }
                None => {
                    let question = *question;
                    Outcome::Ask(Box::new(Pending { request, question, alias, transport }))
                }
            },
        }
    }

    /// Asks others.
    pub(crate) async fn finish(&self, pending: Pending) -> Vec<u8> {
        let Pending { request, question, alias, transport } = pending;
        let reply = match self.forwarder.ask(question).await {
            Some(theirs) => reply::relayed(&request, &theirs, alias),
            None => reply::empty(&request, ResponseCode::ServFail),
        };
        reply::encode(&request, reply, transport)
    }

    fn local(&self, index: &Index, asker: &Asker, request: &Message) -> Local {
        let query = match question_of(request) {
            Ok(query) => query,
            Err(code) => return Local::Reply(reply::empty(request, code)),
        };
        let text = query.name().to_lowercase().to_ascii();
        let name = text.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            return Local::Reply(reply::localhost(request, query));
        }
        if let Some(target) = index.stands_for(asker, name)
            && let Ok(target) = Name::from_ascii(format!("{target}."))
        {
            return self.behind(index, asker, request, query, target);
        }
        let ours = match address_of(query.name()) {
            Some(address) => self.by_address(index, asker, request, query, address),
            None => self.by_name(index, asker, request, query, name),
        };
        match ours {
            Some(reply) => Local::Reply(reply),
            None if !index.forwards(asker) => {
                Local::Reply(reply::nothing(request, query, ResponseCode::NXDomain))
            }
            None => {
                let question = Question::of(request, query, asker.servers.clone());
                Local::Ask(Box::new(question), None)
            }
        }
    }

    /// That the name stands for another, and what is known of that (RFC 1034, section 3.6.2).
    fn behind(
        &self,
        index: &Index,
        asker: &Asker,
        request: &Message,
        query: &Query,
        target: Name,
    ) -> Local {
        let alias = reply::alias(query, target.clone());
        let wants_more = !matches!(query.query_type(), RecordType::CNAME | RecordType::ANY);
        let mut further = query.clone();
        further.set_name(target.clone());
        let text = target.to_lowercase().to_ascii();
        let ours = self.by_name(index, asker, request, &further, text.trim_end_matches('.'));
        match ours {
            Some(reply) if wants_more => Local::Reply(reply::after(alias, reply)),
            None if wants_more && index.forwards(asker) => {
                let question = Question::of(request, &further, asker.servers.clone());
                Local::Ask(Box::new(question), Some(alias))
            }
            Some(_) | None => Local::Reply(reply::after(alias, reply::plain(request))),
        }
    }

    fn by_name(
        &self,
        index: &Index,
        asker: &Asker,
        request: &Message,
        query: &Query,
        name: &str,
    ) -> Option<Message> {
        match index.find(asker, name) {
            Found::Addresses(all) => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                Some(reply::addresses(request, query, &all, turn))
            }
            Found::Nobody => Some(reply::nothing(request, query, ResponseCode::NXDomain)),
            Found::Elsewhere => None,
        }
    }

    fn by_address(
        &self,
        index: &Index,
        asker: &Asker,
        request: &Message,
        query: &Query,
        address: IpAddr,
    ) -> Option<Message> {
        match index.called(asker, address) {
            Called::Name(name) => Some(reply::pointer(request, query, &name)),
            Called::Nobody => Some(reply::nothing(request, query, ResponseCode::NXDomain)),
            Called::Elsewhere => None,
        }
    }
}

enum Local {
    Reply(Message),
    /// Others are asked; what they say comes after this.
    Ask(Box<Question>, Option<Record>),
}

/// The one question we answer, or why we don't.
fn question_of(request: &Message) -> Result<&Query, ResponseCode> {
    if request.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    // More than one question was never given a meaning (RFC 9619).
    let [query] = request.queries.as_slice() else { return Err(ResponseCode::FormErr) };
    match (query.query_class(), query.query_type()) {
        (DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => Err(ResponseCode::Refused),
        (DNSClass::IN, _) => Ok(query),
        _ => Err(ResponseCode::Refused),
    }
}

/// The address a reverse name stands for (RFC 1035, section 3.5; RFC 3596, section 2.5).
fn address_of(name: &Name) -> Option<IpAddr> {
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}

/// What can't be read is told so, if it has at least a number to be told under and is no answer.
fn malformed(bytes: &[u8]) -> Outcome {
    let Some([high, low, flags, ..]) = bytes.first_chunk::<12>() else { return Outcome::Silence };
    if flags & 0x80 != 0 {
        return Outcome::Silence;
    }
    let id = u16::from_be_bytes([*high, *low]);
    let reply = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
    reply.to_vec().map_or(Outcome::Silence, Outcome::Reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::uid;
    use crate::zones::{Joined, Member, NetworkNames, Zones};
    use proptest::prelude::*;

    fn responder() -> Responder {
        let web = Member {
            joined: vec![Joined {
                network: uid(1),
                names: vec!["web".into()],
                addresses: vec!["10.0.1.5".parse().unwrap()],
            }],
            ..Member::default()
        };
        let zones = Zones {
            networks: vec![NetworkNames {
                id: uid(1),
                name: "default".into(),
                project: "shop".into(),
                listen: vec!["10.0.1.1".parse().unwrap()],
                subnets: vec!["10.0.1.0/24".parse().unwrap()],
                forward: false,
            }],
            members: [("shop/web".to_owned(), Arc::new(web))].into(),
            ..Zones::default()
        };
        let responder = Responder::new(Forwarder::new("/nonexistent".into(), 53));
        responder.set(Index::new(&zones, "hull.internal"));
        responder
    }

    fn consider(bytes: &[u8]) -> Outcome {
        let (listen, source) = ("10.0.1.1".parse().unwrap(), "10.0.1.5".parse().unwrap());
        responder().consider(listen, source, bytes, Transport::Udp)
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query
    }

    fn reply(message: &Message) -> Message {
        match consider(&message.to_vec().unwrap()) {
            Outcome::Reply(bytes) => Message::from_vec(&bytes).unwrap(),
            _ => panic!("no reply to {message}"),
        }
    }

    #[test]
    fn each_question_has_its_code() {
        for (name, kind, code, answers) in [
            ("web.", RecordType::A, ResponseCode::NoError, 1),
            ("WEB.", RecordType::A, ResponseCode::NoError, 1),
            ("web.", RecordType::AAAA, ResponseCode::NoError, 0),
            ("web.", RecordType::MX, ResponseCode::NoError, 0),
            ("web.", RecordType::ANY, ResponseCode::NoError, 1),
            ("5.1.0.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, 1),
            ("9.1.0.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, 0),
            ("localhost.", RecordType::A, ResponseCode::NoError, 1),
            ("x.hull.internal.", RecordType::A, ResponseCode::NXDomain, 0),
            ("example.com.", RecordType::A, ResponseCode::NXDomain, 0),
            ("web.", RecordType::AXFR, ResponseCode::Refused, 0),
        ] {
            let reply = reply(&query(name, kind));
            assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
            assert_eq!(reply.answers.len(), answers, "{name} {kind}");
            if answers == 0 && code != ResponseCode::Refused {
                assert_eq!(reply.authorities.len(), 1, "{name} {kind}: for how long");
            }
        }
    }

    #[test]
    fn what_is_no_question_is_not_answered_as_one() {
        let mut update = query("web.", RecordType::A);
        update.metadata.op_code = OpCode::Notify;
        assert_eq!(reply(&update).metadata.response_code, ResponseCode::NotImp);
        let mut two = query("web.", RecordType::A);
        two.add_query(Query::query(Name::root(), RecordType::A));
        assert_eq!(reply(&two).metadata.response_code, ResponseCode::FormErr);
        let answer = query("web.", RecordType::A).into_response();
        assert!(matches!(consider(&answer.to_vec().unwrap()), Outcome::Silence));
        assert!(matches!(consider(&[1, 2, 3]), Outcome::Silence));
        let mut torn = query("web.", RecordType::A).to_vec().unwrap();
        torn.truncate(15);
        assert!(matches!(consider(&torn), Outcome::Reply(_)));
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            consider(&bytes);
        }

        #[test]
        fn no_damaged_question_breaks_it(
            place in 0_usize..40,
            byte: u8,
            labels in prop::collection::vec("[a-z0-9.-]{1,20}", 1..5),
        ) {
            let name = Name::from_ascii(format!("{}.in-addr.arpa.", labels.join(".")));
            let mut message = Message::query();
            message.add_query(Query::query(name.unwrap_or_default(), RecordType::PTR));
            let mut bytes = message.to_vec().unwrap();
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
            consider(&bytes);
        }
    }
}
