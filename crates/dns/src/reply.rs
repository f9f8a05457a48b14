//! Answers: from what is known to the bytes that are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Seconds an answer about instances may be kept: they come and go.
pub(crate) const TTL: u32 = 5;

/// Bytes of an answer by UDP for one who doesn't say more (RFC 1035, section 2.3.4).
const PLAIN: u16 = 512;

/// Bytes of an answer by UDP that passes any link whole, and that we take ourselves (the agreement of
/// DNS flag day 2020).
pub(crate) const PAYLOAD: u16 = 1232;

/// How an answer goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In one packet, which bounds it.
    Udp,
    /// In a stream.
    Tcp,
}

/// An answer to `request` without records.
pub(crate) fn empty(request: &Message, code: ResponseCode) -> Message {
    let asked = &request.metadata;
    let mut reply = Message::response(asked.id, asked.op_code);
    reply.metadata.response_code = code;
    reply.metadata.recursion_desired = asked.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.checking_disabled = asked.checking_disabled;
    reply.add_queries(request.queries.iter().cloned());
    reply
}

/// The addresses of a name of ours, of the type asked for; `turn` says which comes first.
pub(crate) fn addresses(request: &Message, query: &Query, all: &[IpAddr], turn: usize) -> Message {
    let record = |address: &IpAddr| match (address, query.query_type()) {
        (IpAddr::V4(four), RecordType::A | RecordType::ANY) => Some(RData::A(A(*four))),
        (IpAddr::V6(six), RecordType::AAAA | RecordType::ANY) => Some(RData::AAAA(AAAA(*six))),
        _ => None,
    };
    let mut found: Vec<RData> = all.iter().filter_map(record).collect();
    if found.is_empty() {
        return nothing(request, query, ResponseCode::NoError);
    }
    let first = turn % found.len();
    found.rotate_left(first);
    let name = query.name();
    answered(request, found.into_iter().map(|data| Record::from_rdata(name.clone(), TTL, data)))
}

/// The name of an address of ours.
pub(crate) fn pointer(request: &Message, query: &Query, name: &str) -> Message {
    let Ok(name) = Name::from_ascii(format!("{name}.")) else {
        return nothing(request, query, ResponseCode::NXDomain);
    };
    match query.query_type() {
        RecordType::PTR | RecordType::ANY => {
            let data = RData::PTR(PTR(name));
            answered(request, [Record::from_rdata(query.name().clone(), TTL, data)])
        }
        _ => nothing(request, query, ResponseCode::NoError),
    }
}

/// Loopback (RFC 6761, section 6.3).
pub(crate) fn localhost(request: &Message, query: &Query) -> Message {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    addresses(request, query, &both, 0)
}

/// That a name of ours doesn't exist, or has nothing of that type; with how long that holds (RFC
/// 2308, section 3).
pub(crate) fn nothing(request: &Message, query: &Query, code: ResponseCode) -> Message {
    let mut reply = empty(request, code);
    reply.metadata.authoritative = true;
    let zone = query.name().clone();
    let seconds = i32::try_from(TTL).expect("a few seconds");
    let soa = SOA::new(zone.clone(), zone.clone(), 1, seconds, seconds, seconds, TTL);
    reply.add_authority(Record::from_rdata(zone, TTL, RData::SOA(soa)));
    reply
}

fn answered(request: &Message, records: impl IntoIterator<Item = Record>) -> Message {
    let mut reply = empty(request, ResponseCode::NoError);
    reply.metadata.authoritative = true;
    reply.add_answers(records);
    reply
}

/// That a name stands for another.
pub(crate) fn alias(query: &Query, target: Name) -> Record {
    Record::from_rdata(query.name().clone(), TTL, RData::CNAME(CNAME(target)))
}

/// An answer with the name before it that led there.
pub(crate) fn after(alias: Record, mut reply: Message) -> Message {
    reply.answers.insert(0, alias);
    reply
}

/// An answer of ours that has no records yet.
pub(crate) fn plain(request: &Message) -> Message {
    answered(request, [])
}

/// What others answered, as an answer to `request`; behind the name that led to theirs.
pub(crate) fn relayed(request: &Message, theirs: &Message, alias: Option<Record>) -> Message {
    let mut reply = empty(request, theirs.metadata.response_code);
    reply.metadata.authentic_data = theirs.metadata.authentic_data;
    reply.answers.extend(alias);
    reply.answers.extend(theirs.answers.iter().cloned());
    reply.authorities.clone_from(&theirs.authorities);
    reply.additionals.clone_from(&theirs.additionals);
    reply
}

/// The bytes of an answer, cut to what the asker takes. One who speaks EDNS is answered in it (RFC
/// 6891, section 6.1.1).
pub(crate) fn encode(request: &Message, mut reply: Message, transport: Transport) -> Vec<u8> {
    if let Some(asked) = &request.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD).set_dnssec_ok(asked.flags().dnssec_ok);
        reply.set_edns(edns);
    }
    let room = match transport {
        Transport::Udp => request.edns.as_ref().map_or(PLAIN, |edns| room(edns.max_payload())),
        Transport::Tcp => u16::MAX,
    };
    let fits = |bytes: &Vec<u8>| bytes.len() <= usize::from(room);
    match reply.to_vec() {
        Ok(bytes) if fits(&bytes) => bytes,
        Ok(_) => reply.truncate().to_vec().unwrap_or_default(),
        Err(_) => empty(request, ResponseCode::ServFail).to_vec().unwrap_or_default(),
    }
}

fn room(asked: u16) -> u16 {
    asked.clamp(PLAIN, PAYLOAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode};

    fn request(name: &str, kind: RecordType) -> Message {
        let mut request = Message::new(7, MessageType::Query, OpCode::Query);
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        request
    }

    #[test]
    fn a_missing_type_is_not_a_missing_name() {
        let asked = request("web.", RecordType::AAAA);
        let four = ["10.0.0.5".parse().unwrap()];
        let reply = addresses(&asked, &asked.queries[0], &four, 0);
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.answers.is_empty());
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
    }

    #[test]
    fn several_addresses_take_turns() {
        let asked = request("web.", RecordType::A);
        let all: Vec<IpAddr> = (1..4).map(|i| IpAddr::from([10, 0, 0, i])).collect();
        let first = |turn| addresses(&asked, &asked.queries[0], &all, turn).answers[0].data.clone();
        assert_ne!(first(0), first(1));
        assert_eq!(first(0), first(3));
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let mut asked = request("web.", RecordType::A);
        let all: Vec<IpAddr> = (0..200).map(|i| IpAddr::from([10, 0, 0, i])).collect();
        let reply = |asked: &Message| addresses(asked, &asked.queries[0], &all, 0);
        let cut = encode(&asked, reply(&asked), Transport::Udp);
        assert!(cut.len() <= 512);
        assert!(Message::from_vec(&cut).unwrap().metadata.truncation);
        let whole = encode(&asked, reply(&asked), Transport::Tcp);
        assert_eq!(Message::from_vec(&whole).unwrap().answers.len(), 200);
        asked.set_edns(Edns::new());
        let more = Message::from_vec(&encode(&asked, reply(&asked), Transport::Udp)).unwrap();
        assert!(more.edns.is_some());
    }
}
