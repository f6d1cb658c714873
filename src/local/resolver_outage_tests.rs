//! Names of which servers say nothing: how often they are asked for, and when servers are there again.

use super::*;
use alloc::string::String;
use std::collections::BTreeMap;

/// What a server does with a question.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    Silent,
    Fails,
    Answers,
}

impl Bench {
    /// Passes so many seconds with a server that does `act` for each name. How often each name was asked for, and when last.
    fn run(&mut self, seconds: u64, act: impl Fn(&str) -> Server) -> BTreeMap<String, (u32, u64)> {
        let mut asked_for = BTreeMap::new();
        for second in 0..seconds {
            for query in self.queries() {
                let name = asked(&query);
                match act(&name) {
                    Server::Silent => {}
                    Server::Fails => drop(self.take(&query, &code(&query, 2))),
                    Server::Answers => drop(self.take(&query, &addresses(&query, 60, &[1]))),
                }
                let (count, last) = asked_for.entry(name).or_insert((0, 0));
                (*count, *last) = (*count + 1, second);
            }
            self.pass(Duration::from_secs(1));
        }
        asked_for
    }
}

#[test]
fn while_nothing_is_answered_a_name_is_asked_for_about_twice_a_minute() {
    for server in [Server::Silent, Server::Fails] {
        let mut bench = Bench::new(&[FIRST], &["www.example"]);
        bench.run(600, |_| server);
        // Each time the server is asked twice.
        let (count, _) = bench.run(3600, |_| server)["www.example"];
        assert!((140..=330).contains(&count), "{count}");
    }
}

#[test]
fn a_name_that_nobody_answers_for_is_asked_for_once_a_minute_at_most_where_others_are_answered() {
    let mut bench = Bench::new(&[FIRST], &["dead.example", "a.example", "b.example", "c.example"]);
    let act = |name: &str| if name == "dead.example" { Server::Fails } else { Server::Answers };
    bench.run(1800, act);
    let asked_for = bench.run(3600, act);
    assert!(asked_for["a.example"].0 >= 60, "{asked_for:?}");
    // Each time the server is asked twice.
    assert!((24..=120).contains(&asked_for["dead.example"].0), "{asked_for:?}");
}

#[test]
fn the_first_answer_after_an_outage_makes_all_due_that_failed() {
    let names: Vec<_> = ('a'..='l').map(|letter| alloc::format!("{letter}.example")).collect();
    let mut bench = Bench::new(&[FIRST], &names.iter().map(|name| &name[..]).collect::<Vec<_>>());
    bench.run(1800, |_| Server::Silent);
    let asked_for = bench.run(50, |_| Server::Answers);
    let last: Vec<u64> = asked_for.values().map(|(_, last)| *last).collect();
    assert_eq!(last.len(), names.len(), "{asked_for:?}");
    assert!(last.iter().max().unwrap() - last.iter().min().unwrap() <= 6, "{asked_for:?}");
}
