//! Names of which servers say nothing: how often they are asked for, and when servers are there again.

use super::*;
use alloc::string::String;
use std::collections::BTreeMap;

/// What a server does with a question.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Silent,
    Fails,
    Answers,
    AnswersForAnHour,
}

impl Bench {
    /// With so many names of one source.
    fn with_names(servers: &[Ipv4Addr], count: usize) -> Self {
        let names: Vec<_> = (0..count).map(|number| alloc::format!("n{number}.example")).collect();
        Self::new(servers, &names.iter().map(|name| &name[..]).collect::<Vec<_>>())
    }

    /// Passes so many seconds with servers that do `act` for each name. How often each name was asked for, and when last.
    fn run(&mut self, seconds: u64, act: impl Fn(&str, Ipv4Addr) -> Server) -> BTreeMap<String, (u32, u64)> {
        let mut asked_for = BTreeMap::new();
        for second in 0..seconds {
            loop {
                let queries = self.queries();
                assert!(queries.len() <= MAX_QUESTIONS / 2, "of one source");
                if queries.is_empty() {
                    break;
                }
                for query in queries {
                    let name = asked(&query);
                    match act(&name, *query.to.ip()) {
                        Server::Silent => {}
                        Server::Fails => drop(self.take(&query, &code(&query, 2))),
                        Server::Answers => drop(self.take(&query, &addresses(&query, 60, &[1]))),
                        Server::AnswersForAnHour => drop(self.take(&query, &addresses(&query, 3600, &[1]))),
                    }
                    let (count, last) = asked_for.entry(name).or_insert((0, 0));
                    (*count, *last) = (*count + 1, second);
                }
            }
            self.pass(Duration::from_secs(1));
        }
        asked_for
    }

    /// Names that stand for nothing.
    fn unknown(&self) -> usize {
        self.resolver.names.iter().filter(|name| name.addresses().count() == 0).count()
    }
}

#[test]
fn while_nothing_is_answered_a_name_is_asked_for_about_twice_a_minute() {
    for server in [Server::Silent, Server::Fails] {
        let mut bench = Bench::new(&[FIRST], &["www.example"]);
        bench.run(600, |_, _| server);
        // Each time the server is asked twice.
        let (count, _) = bench.run(3600, |_, _| server)["www.example"];
        assert!((140..=330).contains(&count), "{count}");
    }
}

#[test]
fn a_name_that_nobody_answers_for_is_asked_for_about_twice_a_minute_whatever_else_is_answered() {
    for others in [1, 3, 12] {
        let mut bench = Bench::with_names(&[FIRST], others + 1);
        let act = |name: &str, _| if name == "n0.example" { Server::Fails } else { Server::Answers };
        bench.run(600, act);
        let asked_for = bench.run(3600, act);
        assert!(asked_for["n1.example"].0 >= 60, "{asked_for:?}");
        // Each time the server is asked twice.
        assert!((140..=330).contains(&asked_for["n0.example"].0), "{asked_for:?}");
    }
}

#[test]
fn the_first_answer_after_an_outage_makes_all_due_that_failed() {
    for (count, servers) in [(12, &[FIRST][..]), (12, &[FIRST, SECOND])] {
        for moment in 0..40 {
            let mut bench = Bench::with_names(servers, count);
            bench.run(300 + moment, |_, _| Server::Silent);
            let mut waited = 0;
            while bench.unknown() == count {
                bench.run(1, |_, _| Server::Answers);
                waited += 1;
            }
            assert!(waited <= 35, "{waited}");
            // A question that is lost just then has some seconds to fail, and its name waits ten more.
            bench.run(16, |_, _| Server::Answers);
            assert_eq!(bench.unknown(), 0, "{count} names, {} servers, {moment}", servers.len());
        }
    }
}

#[test]
fn one_answer_amid_an_outage_makes_no_name_wait_longer() {
    for server in [Server::Silent, Server::Fails] {
        let mut bench = Bench::with_names(&[FIRST], 12);
        bench.run(600, |_, _| server);
        let is_answered = Cell::new(false);
        bench.run(40, |_, _| if is_answered.replace(true) { server } else { Server::AnswersForAnHour });
        assert_eq!(bench.unknown(), 11);
        bench.run(40, |_, _| Server::Answers);
        assert_eq!(bench.unknown(), 0, "{server:?}");
    }
}

#[test]
fn that_one_name_is_answered_all_along_hides_no_outage_of_the_others() {
    for server in [Server::Silent, Server::Fails] {
        let mut bench = Bench::with_names(&[FIRST], 12);
        bench.run(600, |name, _| if name == "n0.example" { Server::Answers } else { server });
        assert_eq!(bench.unknown(), 11);
        bench.run(40, |_, _| Server::Answers);
        assert_eq!(bench.unknown(), 0, "{server:?}");
    }
}

#[test]
fn after_an_outage_each_of_a_thousand_names_is_asked_for_about_once() {
    let mut bench = Bench::with_names(&[FIRST, SECOND], 1000);
    bench.run(100, |_, _| Server::Silent);
    let asked_for = bench.run(40, |_, _| Server::AnswersForAnHour);
    let count: u32 = asked_for.values().map(|(count, _)| *count).sum();
    assert!((1000..1100).contains(&count), "{count}");
    assert_eq!(bench.unknown(), 0);
}

#[test]
fn where_one_server_is_silent_or_fails_names_stay_known() {
    for server in [Server::Silent, Server::Fails] {
        let mut bench = Bench::with_names(&[FIRST, SECOND], 60);
        let act = |_: &str, asked: Ipv4Addr| if asked == FIRST { server } else { Server::Answers };
        bench.run(120, act);
        for _ in 0..15 {
            bench.run(60, act);
            assert_eq!(bench.unknown(), 0, "{server:?}");
        }
    }
}

#[test]
fn names_that_fail_and_are_answered_by_turns_keep_no_others_unknown() {
    let mut bench = Bench::with_names(&[FIRST], 160);
    let number = |name: &str| name[1..name.len() - ".example".len()].parse::<u32>().unwrap();
    for turn in 0..150 {
        bench.run(10, |name, _| match number(name) {
            0..10 if turn % 3 > 0 => Server::Fails,
            10..110 => Server::Silent,
            _ => Server::Answers,
        });
        let mut others = bench.resolver.names.iter().filter(|name| number(name.host.text()) >= 110);
        assert!(turn < 30 || others.all(|name| name.addresses().count() > 0), "{turn}");
    }
}

#[test]
fn names_are_known_again_soon_after_the_clock_jumped() {
    const DAY: Duration = Duration::from_secs(86_400);
    for server in [Server::Silent, Server::Fails, Server::Answers] {
        let mut bench = Bench::with_names(&[FIRST, SECOND], 30);
        bench.run(125, |_, _| server);
        bench.pass(DAY);
        bench.run(40, |_, _| Server::Answers);
        assert_eq!(bench.unknown(), 0, "{server:?}");
    }
}

#[test]
fn a_server_that_takes_its_time_is_heard() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    let first = bench.query();
    bench.pass(Duration::from_secs(2));
    let second = bench.query();
    let late = bench.resolver.take(bench.now, first.to, first.port, &addresses(&first, 60, &[1]));
    assert_eq!(late, Reception::Refused);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.take(&second, &addresses(&second, 60, &[2])), Reception::Taken);
    assert_eq!(bench.addresses("www.example"), [2]);
}

#[test]
fn that_a_name_is_not_there_is_believed_for_minutes_at_most() {
    let mut bench = Bench::new(&[FIRST], &["www.example"]);
    let query = bench.query();
    let mut answer = code(&query, 3);
    answer[9] = 1;
    // The root's authority, which says a day.
    answer.extend([0, 0, 6, 0, 1, 0, 1, 0x51, 0x80, 0, 22, 0, 0]);
    answer.extend([0, 1, 0x51, 0x80].repeat(5));
    assert_eq!(bench.take(&query, &answer), Reception::Taken);
    let seconds = bench.seconds_to_deadline();
    assert!((225..=300).contains(&seconds), "{seconds}");
}

#[test]
fn questions_are_counted_to_the_source_that_their_names_have_by_now() {
    let mut bench = Bench::new(&[FIRST], &[]);
    let host =
        |letter: &str, number: u32| HostName::parse(&alloc::format!("{letter}{number}.example")).unwrap();
    let of = |letter, source| (0..8).map(move |number| (host(letter, number), NameSource(source)));
    bench.resolver.set_names(of("a", 1), bench.now);
    assert_eq!(bench.queries().len(), 8);
    bench.resolver.set_names(of("a", 2).chain(of("b", 1)), bench.now);
    assert_eq!(bench.queries().len(), 4);
}
