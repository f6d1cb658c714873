use super::*;
use crate::local::known_name::{LINGER, LONGEST, SHORTEST};
use alloc::string::ToString;
use core::cell::Cell;
use proptest::prelude::*;

#[path = "resolver_outage_tests.rs"]
mod outage;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 2);

/// A resolver with the time, and ports that are handed out one after the other.
struct Bench {
    resolver: Resolver,
    now: Moment,
    last_port: u16,
    open: Vec<u16>,
}

impl Bench {
    fn new(servers: &[Ipv4Addr], names: &[&str]) -> Self {
        let now = Moment::from_nanoseconds(1_000_000_000_000);
        let mut resolver = Resolver::new((1, 2));
        resolver.set_servers(servers, now);
        let mut bench = Self { resolver, now, last_port: 2000, open: Vec::new() };
        bench.set_names(names);
        bench
    }

    fn set_names(&mut self, names: &[&str]) {
        let mut names: Vec<_> = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
        names.sort();
        self.resolver.set_names(names.into_iter().map(|name| (name, NameSource(0))), self.now);
    }

    /// The questions that are to be sent.
    fn queries(&mut self) -> Vec<NameQuery> {
        self.resolver.advance(self.now);
        let mut queries = Vec::new();
        loop {
            let next = Cell::new(self.last_port);
            let open = || {
                next.set(next.get() + 1);
                Some(next.get())
            };
            let query = self.resolver.next_query(self.now, open);
            self.last_port = next.get();
            let Some(query) = query else { break };
            self.open.push(query.port);
            queries.push(query);
        }
        self.check();
        queries
    }

    fn query(&mut self) -> NameQuery {
        let mut queries = self.queries();
        assert_eq!(queries.len(), 1, "{queries:?}");
        queries.remove(0)
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// What must hold whatever happened.
    fn check(&mut self) {
        while let Some(port) = self.resolver.next_closed_port() {
            let place = self.open.iter().position(|open| *open == port).expect("a port that was open");
            self.open.remove(place);
        }
        let asked = self.resolver.questions.iter().filter_map(|question| Some(question.sent?.port));
        let mut asked: Vec<u16> = asked.collect();
        [&mut asked, &mut self.open].into_iter().for_each(|ports| ports.sort_unstable());
        assert_eq!(self.open, asked, "ports are open as long as questions are");
        let mut hosts: Vec<_> = self.resolver.questions.iter().map(|question| &question.host).collect();
        hosts.sort();
        assert!(hosts.is_sorted_by(|a, b| a < b), "a name is asked for once at a time: {hosts:?}");
    }

    fn take(&mut self, query: &NameQuery, message: &[u8]) -> Reception {
        let taken = self.resolver.take(self.now, query.to, query.port, message);
        self.check();
        taken
    }

    fn addresses(&self, name: &str) -> Vec<u8> {
        let known = self.resolver.names.iter().find(|known| known.host.text() == name);
        let mut last: Vec<u8> = known.unwrap().addresses().map(|address| address.octets()[3]).collect();
        last.sort_unstable();
        last
    }

    fn seconds_to_deadline(&self) -> u64 {
        self.resolver.deadline().unwrap().since(self.now).as_secs()
    }
}

/// The answer to a question: its name stands for these addresses of 192.0.2.0/24.
fn addresses(query: &NameQuery, ttl: u32, last: &[u8]) -> Vec<u8> {
    let mut bytes = query.message.to_vec();
    (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, last.len() as u8);
    for last in last {
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(ttl.to_be_bytes());
        bytes.extend([0, 4, 192, 0, 2, *last]);
    }
    bytes
}

/// The answer to a question: its name is another one's alias.
fn alias(query: &NameQuery, ttl: u32, target: &str) -> Vec<u8> {
    let mut bytes = query.message.to_vec();
    (bytes[2], bytes[3], bytes[7]) = (0x81, 0x80, 1);
    bytes.extend([0xc0, 12, 0, 5, 0, 1]);
    bytes.extend(ttl.to_be_bytes());
    let target = message::query(0, &HostName::parse(target).unwrap());
    let name = &target[12..target.len() - 4];
    bytes.extend((name.len() as u16).to_be_bytes());
    bytes.extend(name);
    bytes
}

/// The answer of a server that says `code`.
fn code(query: &NameQuery, code: u8) -> Vec<u8> {
    let mut bytes = query.message.to_vec();
    (bytes[2], bytes[3]) = (0x81, 0x80 | code);
    bytes
}

fn asked(query: &NameQuery) -> alloc::string::String {
    let labels = query.message[12..query.message.len() - 4].to_vec();
    let packet = smoltcp::wire::DnsPacket::new_checked(&query.message[..]).unwrap();
    let name = HostName::from_labels(packet.parse_name(&labels).map(|label| label.unwrap()));
    name.unwrap().to_string()
}

#[test]
fn a_name_is_asked_for_ahead_and_stands_for_what_is_answered() {
    let mut bench = Bench::new(&[FIRST, SECOND], &["www.example"]);
    let query = bench.query();
    assert_eq!((query.to, asked(&query).as_str()), (SocketAddrV4::new(FIRST, 53), "www.example"));
    assert_eq!(bench.take(&query, &addresses(&query, 300, &[1, 2])), Reception::Taken);
    assert_eq!(bench.addresses("www.example"), [1, 2]);
    let (host, found) = bench.resolver.next_update().unwrap();
    assert_eq!((host.text(), found.count()), ("www.example", 2));
    assert!(bench.resolver.next_update().is_none());
    assert_eq!(bench.queries(), []);
}

#[test]
fn without_servers_nothing_is_asked() {
    let mut bench = Bench::new(&[], &["www.example"]);
    assert_eq!(bench.queries().len(), 0);
    bench.resolver.set_servers(&[SECOND], bench.now);
    bench.pass(SOON);
    assert_eq!(bench.query().to, SocketAddrV4::new(SECOND, 53));
}

#[test]
fn an_answer_counts_only_from_the_server_to_the_port_under_the_number_and_for_the_name_that_were_asked() {
    let mut bench = Bench::new(&[FIRST, SECOND], &["www.example"]);
    let query = bench.query();
    let right = addresses(&query, 300, &[1]);
    let mut refused = |from: SocketAddrV4, port: u16, message: &[u8]| {
        assert_eq!(bench.resolver.take(bench.now, from, port, message), Reception::Refused);
    };
    refused(SocketAddrV4::new(SECOND, 53), query.port, &right);
    refused(SocketAddrV4::new(FIRST, 54), query.port, &right);
    refused(query.to, query.port + 1, &right);
    for bit in 0..16 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        if bit < 12 {
            refused(query.to, query.port, &wrong);
        }
    }
    let mut other = query.clone();
    other.message[13] = b'x';
    refused(query.to, query.port, &addresses(&other, 300, &[1]));
    refused(query.to, query.port, &query.message);
    assert_eq!(bench.addresses("www.example"), []);
    assert_eq!(bench.take(&query, &right), Reception::Taken);
    // It is over: the same once more is nobody's.
    assert_eq!(bench.resolver.take(bench.now, query.to, query.port, &right), Reception::Refused);
}

#[test]
fn a_question_goes_on_from_another_port_when_numbers_are_tried_out() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    let query = bench.query();
    let mut wrong = addresses(&query, 300, &[6]);
    wrong[0] ^= 1;
    (0..MAX_WRONG).for_each(|_| assert_eq!(bench.take(&query, &wrong), Reception::Refused));
    let next = bench.query();
    assert_ne!(next.port, query.port);
    assert_eq!(bench.take(&query, &addresses(&query, 300, &[6])), Reception::Refused);
    assert_eq!(bench.take(&next, &addresses(&next, 300, &[1])), Reception::Taken);
    assert_eq!(bench.addresses("www.example"), [1]);
}

#[test]
fn numbers_differ_from_question_to_question() {
    let names: Vec<_> = (0..16).map(|number| alloc::format!("n{number}.example")).collect();
    let mut bench = Bench::new(&[FIRST], &names.iter().map(|name| &name[..]).collect::<Vec<_>>());
    let queries = bench.queries();
    let numbers: std::collections::BTreeSet<_> = queries.iter().map(|query| &query.message[..2]).collect();
    assert_eq!((queries.len(), numbers.len()), (8, 8));
}

#[test]
fn servers_are_asked_in_turn() {
    let mut bench = Bench::new(&[FIRST, SECOND], &["www.example"]);
    for server in [FIRST, SECOND, FIRST, SECOND] {
        assert_eq!(*bench.query().to.ip(), server);
        bench.pass(LONGEST_WAIT);
    }
    assert_eq!(bench.queries(), []);
}

#[test]
fn a_server_that_fails_is_not_waited_for() {
    let mut bench = Bench::new(&[FIRST, SECOND], &["www.example"]);
    let query = bench.query();
    assert_eq!(bench.take(&query, &code(&query, 2)), Reception::Taken);
    let query = bench.query();
    assert_eq!(*query.to.ip(), SECOND);
    bench.take(&query, &addresses(&query, 300, &[1]));
    assert_eq!(bench.addresses("www.example"), [1]);
}

#[test]
fn a_name_is_asked_for_again_before_its_time_is_over() {
    for (ttl, from, to) in [(1, 45, 60), (300, 225, 300), (1 << 31, 45, 60), (86_400, 2700, 3600)] {
        let mut bench = Bench::new(&[FIRST], &["www.example"]);
        let query = bench.query();
        bench.take(&query, &addresses(&query, ttl, &[1]));
        assert_eq!(bench.queries(), []);
        let seconds = bench.seconds_to_deadline();
        assert!((from..to).contains(&seconds), "{ttl}: {seconds}");
        bench.now = bench.resolver.deadline().unwrap();
        bench.query();
    }
}

#[test]
fn an_address_counts_for_its_time_and_some_minutes_at_least() {
    for (ttl, counts) in [(1, LINGER), (60, LINGER), (1800, Duration::from_secs(1800)), (86_400, LONGEST)] {
        let mut bench = Bench::new(&[FIRST], &["www.example"]);
        let query = bench.query();
        bench.take(&query, &addresses(&query, ttl, &[1]));
        assert!(bench.resolver.next_update().is_some());
        bench.pass(counts - Duration::from_secs(1));
        bench.queries();
        assert_eq!(
            (bench.addresses("www.example"), bench.resolver.next_update().is_some()),
            ([1].into(), false)
        );
        bench.pass(Duration::from_secs(1));
        bench.queries();
        assert_eq!(
            (bench.addresses("www.example"), bench.resolver.next_update().is_some()),
            ([].into(), true)
        );
    }
}

#[test]
fn addresses_that_are_not_said_any_more_stay_for_a_while() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    for last in 1..=3 {
        let query = bench.query();
        bench.take(&query, &addresses(&query, 60, &[last]));
        bench.pass(SHORTEST);
    }
    assert_eq!(bench.addresses("www.example"), [1, 2, 3]);
    bench.pass(LINGER - SHORTEST * 3);
    bench.queries();
    assert_eq!(bench.addresses("www.example"), [2, 3].as_slice());
}

#[test]
fn a_name_has_so_many_addresses_at_most_those_last_heard_of() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    for round in 0..3u8 {
        let query = bench.query();
        let last: Vec<u8> = (round * 25..(round + 1) * 25).collect();
        bench.take(&query, &addresses(&query, 60, &last));
        bench.pass(SHORTEST);
    }
    let found = bench.addresses("www.example");
    assert!(found.len() == 32 && found.ends_with(&(50..75).collect::<Vec<u8>>()), "{found:?}");
}

#[test]
fn what_is_not_there_is_asked_for_again_and_takes_no_address_away() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    let query = bench.query();
    bench.take(&query, &addresses(&query, 60, &[1]));
    bench.pass(SHORTEST);
    let query = bench.query();
    assert_eq!(bench.take(&query, &code(&query, 3)), Reception::Taken);
    assert_eq!(bench.addresses("www.example"), [1]);
    assert!((45..60).contains(&bench.seconds_to_deadline()));
}

#[test]
fn that_a_name_stands_for_nothing_is_news_once_and_that_a_server_failed_is_none() {
    for (answer, is_news) in [(0, true), (3, true), (2, false), (5, false)] {
        let mut bench = Bench::new(&[FIRST], &["www.example"]);
        let query = bench.query();
        assert_eq!(bench.take(&query, &code(&query, answer)), Reception::Taken);
        let news = bench.resolver.next_update().map(|(host, found)| (host.to_string(), found.count()));
        assert_eq!(news, is_news.then(|| ("www.example".to_string(), 0)), "{answer}");
        assert!(bench.resolver.next_update().is_none());
        if is_news {
            bench.pass(SHORTEST);
            let query = bench.query();
            bench.take(&query, &code(&query, answer));
            assert!(bench.resolver.next_update().is_none());
        }
    }
}

#[test]
fn an_alias_is_followed_with_the_shortest_time_on_the_way() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    let query = bench.query();
    bench.take(&query, &alias(&query, 100, "cdn.example.net"));
    let next = bench.query();
    assert_eq!(asked(&next), "cdn.example.net");
    assert_ne!((next.port, &next.message[..2]), (query.port, &query.message[..2]));
    bench.take(&next, &addresses(&next, 3000, &[1]));
    assert_eq!(bench.addresses("www.example"), [1]);
    assert!((75..100).contains(&bench.seconds_to_deadline()));
}

#[test]
fn aliases_from_answer_to_answer_end() {
    let mut bench = Bench::new(&[FIRST], &["a.example"]);
    for round in 0..=MAX_ALIASES {
        let query = bench.query();
        let target = ["b.example", "a.example"][usize::from(round % 2)];
        bench.take(&query, &alias(&query, 100, target));
    }
    assert_eq!(bench.queries(), []);
    assert!(bench.seconds_to_deadline() >= 3);
}

#[test]
fn other_servers_are_asked_at_once_for_what_is_being_asked() {
    let mut bench = Bench::new(&[FIRST], &["a.example", "b.example"]);
    let queries = bench.queries();
    bench.take(&queries[0], &addresses(&queries[0], 3000, &[1]));
    bench.resolver.set_servers(&[SECOND], bench.now);
    bench.check();
    let again = bench.query();
    assert_eq!((*again.to.ip(), asked(&again)), (SECOND, asked(&queries[1])));
    assert_eq!(bench.take(&queries[1], &addresses(&queries[1], 300, &[2])), Reception::Refused);
    bench.pass(SOON);
    assert!(bench.queries().iter().any(|query| asked(query) == asked(&queries[0])));
    bench.resolver.set_servers(&[SECOND], bench.now);
    assert_eq!(bench.queries(), []);
}

#[test]
fn names_that_stay_keep_what_is_known_of_them() {
    let mut bench = Bench::new(&[FIRST], &["a.example", "b.example", "c.example"]);
    for query in bench.queries().into_iter().take(2) {
        bench.take(&query, &addresses(&query, 300, &[1]));
    }
    bench.set_names(&["aa.example", "b.example"]);
    bench.check();
    assert_eq!(bench.addresses("b.example"), [1]);
    assert_eq!(asked(&bench.query()), "aa.example");
}

#[test]
fn names_that_nobody_answers_for_keep_no_other_source_s_waiting() {
    let mut bench = Bench::new(&[FIRST], &[]);
    let host =
        |text: &str, number: u32| HostName::parse(&alloc::format!("{text}{number:03}.example")).unwrap();
    let mut names: Vec<_> = (0..1000).map(|number| (host("n", number), NameSource(0))).collect();
    bench.resolver.set_names(names.iter().cloned(), bench.now);
    assert_eq!(bench.queries().len(), MAX_QUESTIONS / 2);
    // What may not be asked for is not waited for.
    assert_eq!((bench.queries().len(), bench.seconds_to_deadline()), (0, 1));
    for (source, held) in (1..).zip([4, 2, 1, 1, 0]) {
        let more =
            (0..8).map(|number| HostName::parse(&alloc::format!("z{source}{number}.example")).unwrap());
        names.extend(more.map(|name| (name, NameSource(source))));
        bench.resolver.set_names(names.iter().cloned(), bench.now);
        assert_eq!(bench.queries().len(), held, "{source}");
    }
    let mut waited = 0;
    while !bench.queries().iter().any(|query| asked(query).starts_with("z5")) {
        bench.pass(Duration::from_millis(100));
        waited += 1;
    }
    assert!(waited < 60, "{waited}");
}

#[test]
fn a_question_without_a_port_is_put_off() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    bench.resolver.advance(bench.now);
    assert_eq!(bench.resolver.next_query(bench.now, || None), None);
    assert_eq!(bench.resolver.next_query(bench.now, || None), None);
    assert!(bench.resolver.deadline().unwrap() > bench.now);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u16),
    /// An answer to one of the questions, changed at one place.
    NameAnswer {
        question: usize,
        kind: u8,
        ttl: u32,
        change: Option<(usize, u8)>,
    },
    Garbage {
        port: usize,
        bytes: Vec<u8>,
    },
    Servers(u8),
    Names(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u16..5000).prop_map(Step::Wait),
        (any::<usize>(), 0u8..5, any::<u32>(), prop::option::of((0usize..80, any::<u8>())))
            .prop_map(|(question, kind, ttl, change)| Step::NameAnswer { question, kind, ttl, change }),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 0..600))
            .prop_map(|(port, bytes)| Step::Garbage { port, bytes }),
        (0u8..4).prop_map(Step::Servers),
        (0u8..8).prop_map(Step::Names),
    ]
}

proptest! {
    /// A server may say what it likes: whatever is known was said under the right number, ports are given back, and there
    /// is always a next thing to do, which is not in the past once all was done.
    #[test]
    fn whatever_a_server_does_the_books_are_right(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut bench = Bench::new(&[FIRST, SECOND], &["a.example", "b.example", "c.example"]);
        let mut sent: Vec<NameQuery> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => bench.pass(Duration::from_secs(seconds.into())),
                Step::NameAnswer { question, kind, ttl, change } if !sent.is_empty() => {
                    let query = sent[question % sent.len()].clone();
                    let mut bytes = match kind {
                        0 => alias(&query, ttl, "a.example"),
                        1 => code(&query, ttl as u8 & 15),
                        _ => addresses(&query, ttl, &[kind]),
                    };
                    if let Some((place, value)) = change {
                        let length = bytes.len();
                        bytes[place % length] = value;
                    }
                    bench.take(&query, &bytes);
                }
                Step::Garbage { port, bytes } if !sent.is_empty() => {
                    let query = sent[port % sent.len()].clone();
                    prop_assert_eq!(bench.take(&query, &bytes), Reception::Refused);
                }
                Step::NameAnswer { .. } | Step::Garbage { .. } => {}
                Step::Servers(set) => {
                    let servers = [FIRST, SECOND].into_iter().enumerate();
                    let servers = servers.filter(|(at, _)| set >> at & 1 == 1).map(|(_, server)| server);
                    bench.resolver.set_servers(&servers.collect::<Vec<_>>(), bench.now);
                    bench.check();
                }
                Step::Names(set) => {
                    let names = ["a.example", "b.example", "c.example"].into_iter().enumerate();
                    let names = names.filter(|(at, _)| set >> at & 1 == 1).map(|(_, name)| name);
                    bench.set_names(&names.collect::<Vec<_>>());
                    bench.check();
                }
            }
            sent.extend(bench.queries());
            while bench.resolver.next_update().is_some() {}
            while bench.resolver.next_untold(bench.now).is_some() {}
            sent.extend(bench.queries());
            let deadline = bench.resolver.deadline();
            prop_assert!(deadline.is_none_or(|deadline| deadline > bench.now), "{deadline:?}");
            for name in &bench.resolver.names {
                prop_assert!(name.addresses().count() <= 32);
            }
        }
    }
}
