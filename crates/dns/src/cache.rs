//! What others answered, for as long as they said: good answers (RFC 1035, section 7.4) and "there is
//! no such thing" (RFC 2308).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::time::Instant;

use crate::forwarder::Question;

/// Answers kept at most; the oldest goes first.
const ENTRIES: usize = 4096;
/// Records of an answer worth keeping, which with [`ENTRIES`] bounds the memory.
const RECORDS: usize = 100;
/// Seconds a good answer is kept at most, whatever it says.
const LONGEST: u32 = 3600;
/// Seconds a bad one is kept at most (RFC 2308, section 5, allows hours; instances look for names that
/// are about to appear).
const LONGEST_BAD: u32 = 60;

/// Bounded by number; reads and writes take a lock for the time of a look-up.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<Arc<Question>, Entry>,
    order: VecDeque<Arc<Question>>,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Message>,
    since: Instant,
    seconds: u32,
}

impl Cache {
    /// An answer that still holds, with what is left of its time.
    pub(crate) fn get(&self, question: &Question) -> Option<Message> {
        let (answer, age) = {
            let kept = self.kept.lock().expect("no holder of the lock panics");
            let entry = kept.answers.get(question)?;
            let age = u32::try_from(entry.since.elapsed().as_secs()).unwrap_or(u32::MAX);
            if entry.since.elapsed() >= Duration::from_secs(u64::from(entry.seconds)) {
                return None;
            }
            (entry.answer.clone(), age)
        };
        let mut answer = Message::clone(&answer);
        for records in [&mut answer.answers, &mut answer.authorities, &mut answer.additionals] {
            records.iter_mut().for_each(|record| record.ttl = record.ttl.saturating_sub(age));
        }
        Some(answer)
    }

    /// Keeps an answer, if it says for how long.
    pub(crate) fn put(&self, question: &Question, answer: &Arc<Message>) {
        let seconds = lifetime(answer);
        if seconds == 0 {
            return;
        }
        let question = Arc::new(question.clone());
        let entry = Entry { answer: answer.clone(), since: Instant::now(), seconds };
        let mut kept = self.kept.lock().expect("no holder of the lock panics");
        if kept.answers.insert(question.clone(), entry).is_none() {
            kept.order.push_back(question);
        }
        while kept.order.len() > ENTRIES {
            let oldest = kept.order.pop_front().expect("there are more than none");
            kept.answers.remove(&oldest);
        }
    }

    /// Forgets all: those who answered aren't asked any more.
    pub(crate) fn clear(&self) {
        *self.kept.lock().expect("no holder of the lock panics") = Kept::default();
    }
}

/// Seconds an answer holds; 0: not to be kept.
fn lifetime(answer: &Message) -> u32 {
    if answer.all_sections().count() > RECORDS || answer.metadata.truncation {
        return 0;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError if !answer.answers.is_empty() => {
            let shortest = answer.answers.iter().map(|record| record.ttl).min();
            // An alias that leads to nothing is bad news as well (RFC 2308, section 2.2).
            let bad = negative(answer).unwrap_or(LONGEST);
            shortest.unwrap_or(0).min(bad).min(LONGEST)
        }
        ResponseCode::NoError | ResponseCode::NXDomain => {
            negative(answer).unwrap_or(0).min(LONGEST_BAD)
        }
        _ => 0,
    }
}

/// Seconds that "there is none" holds: the smaller of the record's own and its last field (RFC 2308,
/// section 5); without the record it isn't kept.
fn negative(answer: &Message) -> Option<u32> {
    let soa = answer.authorities.iter().find(|record| record.record_type() == RecordType::SOA)?;
    let Record { ttl, data: RData::SOA(data), .. } = soa else { return None };
    Some(data.minimum.min(*ttl))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::{A, SOA};

    fn question(name: &str) -> Question {
        Question::plain(name, RecordType::A)
    }

    fn good(ttl: u32) -> Arc<Message> {
        let mut answer = Message::response(1, OpCode::Query);
        let data = RData::A(A::new(192, 0, 2, 1));
        answer.add_answer(Record::from_rdata(Name::root(), ttl, data));
        Arc::new(answer)
    }

    fn bad(ttl: u32, minimum: u32) -> Arc<Message> {
        let mut answer = Message::response(1, OpCode::Query);
        answer.metadata.response_code = ResponseCode::NXDomain;
        let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, minimum);
        answer.add_authority(Record::from_rdata(Name::root(), ttl, RData::SOA(soa)));
        Arc::new(answer)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_grows_old() {
        let cache = Cache::default();
        cache.put(&question("a"), &good(10));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(cache.get(&question("a")).unwrap().answers[0].ttl, 6);
        assert!(cache.get(&question("b")).is_none());
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(cache.get(&question("a")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn bad_news_is_kept_as_long_as_it_says() {
        for (answer, seconds) in
            [(bad(30, 20), 20), (bad(10, 20), 10), (bad(9000, 9000), LONGEST_BAD)]
        {
            assert_eq!(lifetime(&answer), seconds);
        }
        let mut nameless = Message::clone(&bad(30, 20));
        nameless.authorities.clear();
        assert_eq!(lifetime(&nameless), 0);
        let mut failed = Message::clone(&good(30));
        failed.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(lifetime(&failed), 0);
        assert_eq!(lifetime(&good(0)), 0);
    }

    #[tokio::test]
    async fn its_size_is_bounded() {
        let cache = Cache::default();
        for i in 0..ENTRIES + 10 {
            cache.put(&question(&i.to_string()), &good(100));
        }
        assert!(cache.get(&question("0")).is_none());
        assert!(cache.get(&question(&(ENTRIES + 9).to_string())).is_some());
        assert_eq!(cache.kept.lock().unwrap().answers.len(), ENTRIES);
    }
}
