use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// A name in its long form.
fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| {
        let mut bytes = Vec::from([label.len() as u8]);
        bytes.extend(label.bytes());
        bytes
    });
    labels.chain([0]).collect()
}

fn record(owner: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = owner.to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(ttl.to_be_bytes());
    bytes.extend((data.len() as u16).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn address(owner: &str, ttl: u32, address: [u8; 4]) -> Vec<u8> {
    record(&name(owner), 1, ttl, &address)
}

fn alias(owner: &str, ttl: u32, target: &str) -> Vec<u8> {
    record(&name(owner), 5, ttl, &name(target))
}

fn authority(ttl: u32, minimum: u32) -> Vec<u8> {
    let mut data = [name("ns.example"), name("admin.example")].concat();
    data.extend([0; 16]);
    data.extend(minimum.to_be_bytes());
    record(&name("example"), 6, ttl, &data)
}

/// The answer to the question for `asked`, number 7.
fn message(flags: u16, asked: &str, answers: &[Vec<u8>], authorities: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::from([0, 7]);
    bytes.extend((0x8180 | flags).to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend((answers.len() as u16).to_be_bytes());
    bytes.extend((authorities.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(name(asked));
    bytes.extend([0, 1, 0, 1]);
    bytes.extend(answers.concat());
    bytes.extend(authorities.concat());
    bytes
}

fn read(bytes: &[u8]) -> Result<NameAnswer, NotTheAnswer> {
    answer(bytes, 7, &host("www.example"))
}

fn addresses(last: &[u8], ttl: u32) -> Result<NameAnswer, NotTheAnswer> {
    Ok(NameAnswer::Addresses(last.iter().map(|last| Ipv4Addr::new(192, 0, 2, *last)).collect(), Seconds(ttl)))
}

const TRUNCATED: u16 = 0x0200;
const NO_SUCH_NAME: u16 = 3;

#[test]
fn a_question_asks_for_the_addresses_of_one_name() {
    let bytes = query(0x1234, &host("www.example"));
    let mut expected = Vec::from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    expected.extend(b"\x03www\x07example\0\0\x01\0\x01");
    assert_eq!(&bytes[..], expected);
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(query(1, &host(&longest)).len(), MAX_QUERY_BYTES);
}

#[test]
fn an_answer_has_all_addresses_once_and_the_shortest_of_their_times() {
    let answers = [
        address("WWW.example", 300, [192, 0, 2, 1]),
        address("other.example", 1, [192, 0, 2, 9]),
        address("www.example", 200, [192, 0, 2, 2]),
        address("www.example", 300, [192, 0, 2, 1]),
    ];
    assert_eq!(read(&message(0, "www.EXAMPLE", &answers, &[])), addresses(&[1, 2], 200));
}

#[test]
fn aliases_are_followed_in_any_order_and_count_for_the_shortest_of_their_times() {
    let answers = [
        address("end.example", 300, [192, 0, 2, 1]),
        alias("middle.example", 100, "end.example"),
        alias("www.example", 200, "middle.example"),
    ];
    assert_eq!(read(&message(0, "www.example", &answers, &[])), addresses(&[1], 100));
    let target = NameAnswer::Alias(host("end.example"), Seconds(100));
    assert_eq!(read(&message(0, "www.example", &answers[1..], &[])), Ok(target));
}

#[test]
fn aliases_in_a_circle_end() {
    let answers = [alias("www.example", 9, "b.example"), alias("b.example", 9, "www.example")];
    assert_eq!(read(&message(0, "www.example", &answers, &[])), Ok(NameAnswer::Failure));
    assert_eq!(
        read(&message(0, "www.example", &[alias("www.example", 9, "www.example")], &[])),
        Ok(NameAnswer::Failure)
    );
}

#[test]
fn what_is_not_there_is_not_for_as_long_as_the_authority_says() {
    let nothing = |seconds| Ok(NameAnswer::Nothing(seconds));
    assert_eq!(read(&message(NO_SUCH_NAME, "www.example", &[], &[])), nothing(None));
    assert_eq!(read(&message(0, "www.example", &[], &[authority(900, 300)])), nothing(Some(Seconds(300))));
    assert_eq!(
        read(&message(NO_SUCH_NAME, "www.example", &[], &[authority(200, 300)])),
        nothing(Some(Seconds(200)))
    );
    let dangling = [alias("www.example", 9, "b.example")];
    assert_eq!(read(&message(NO_SUCH_NAME, "www.example", &dangling, &[])), nothing(None));
    assert_eq!(read(&message(0, "www.example", &dangling, &[authority(8, 9)])), nothing(Some(Seconds(8))));
    // A name that does not exist has no address, whatever else is said.
    let both = [address("www.example", 300, [192, 0, 2, 1])];
    assert_eq!(read(&message(NO_SUCH_NAME, "www.example", &both, &[])), nothing(None));
}

#[test]
fn an_answer_that_was_cut_off_counts_for_what_it_has() {
    let answers = [address("www.example", 300, [192, 0, 2, 1]), address("www.example", 300, [192, 0, 2, 2])];
    let whole = message(TRUNCATED, "www.example", &answers, &[]);
    assert_eq!(read(&whole), addresses(&[1, 2], 300));
    assert_eq!(read(&whole[..whole.len() - 3]), addresses(&[1], 300));
    assert_eq!(read(&message(TRUNCATED, "www.example", &[], &[])), Ok(NameAnswer::Failure));
    let without = message(0, "www.example", &answers, &[]);
    assert_eq!(read(&without[..without.len() - 3]), Ok(NameAnswer::Failure));
}

#[test]
fn a_server_that_cannot_say_has_failed() {
    for code in [1, 2, 4, 5, 9] {
        let answers = [address("www.example", 300, [192, 0, 2, 1])];
        assert_eq!(read(&message(code, "www.example", &answers, &[])), Ok(NameAnswer::Failure));
    }
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let right = message(0, "www.example", &[address("www.example", 300, [192, 0, 2, 1])], &[]);
    assert!(read(&right).is_ok());
    let with = |place: usize, value: u8| {
        let mut wrong = right.clone();
        wrong[place] = value;
        read(&wrong)
    };
    let changes = [(0, 1), (1, 8), (2, 0x01), (2, 0x89), (5, 0), (5, 2), (13, b'v'), (26, 28), (28, 3)];
    for (place, value) in changes {
        assert_eq!(with(place, value), Err(NotTheAnswer), "byte {place}");
    }
    assert_eq!(read(&message(0, "www.example.org", &[], &[])), Err(NotTheAnswer));
    assert_eq!(read(&message(0, "example", &[], &[])), Err(NotTheAnswer));
    for length in 0..29 {
        assert_eq!(read(&right[..length]), Err(NotTheAnswer), "{length}");
    }
    let mut long = right;
    long.resize(MAX_ANSWER_BYTES + 1, 0);
    assert_eq!(read(&long), Err(NotTheAnswer));
    long.resize(65_535, 0);
    assert_eq!(read(&long), Err(NotTheAnswer));
}

#[test]
fn names_may_be_shortened_but_not_point_ahead_or_at_themselves() {
    let of = |owner: &[u8]| message(0, "www.example", &[record(owner, 1, 60, &[192, 0, 2, 1])], &[]);
    assert_eq!(read(&of(&[0xc0, 12])), addresses(&[1], 60));
    assert_eq!(read(&of(b"\x03www\xc0\x10")), addresses(&[1], 60));
    for pointer in [29u8, 30, 31, 45, 200] {
        assert_eq!(read(&of(&[0xc0, pointer])), Ok(NameAnswer::Nothing(None)), "{pointer}");
    }
}

#[test]
fn no_more_addresses_are_taken_than_there_is_room_for_of_an_answer_that_should_have_been_cut() {
    let answers: Vec<_> = (0..60).map(|last| record(&[0xc0, 12], 1, 60, &[192, 0, 2, last])).collect();
    let bytes = message(0, "www.example", &answers, &[]);
    assert_eq!(bytes.len(), 989);
    assert_eq!(read(&bytes), addresses(&(0..32).collect::<Vec<_>>(), 60));
}

proptest! {
    #[test]
    fn any_bytes_behind_the_question_are_read_without_a_panic(
        tail in prop::collection::vec(any::<u8>(), 0..483),
        flags in any::<u16>(),
        counts in any::<[u8; 6]>(),
    ) {
        let mut bytes = message(0, "www.example", &[], &[]);
        bytes.extend(tail);
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[6..12].copy_from_slice(&counts);
        let _ = read(&bytes);
    }

    #[test]
    fn any_records_with_any_pointers_are_read_without_a_panic(
        records in prop::collection::vec(
            (prop::collection::vec(prop_oneof![Just(0xc0u8), 0u8..64], 1..6), 1u16..7, any::<u32>(),
             prop::collection::vec(prop_oneof![Just(0xc0u8), 0u8..100], 0..6)),
            0..30,
        ),
        flags in 0u16..4,
    ) {
        let answers: Vec<_> =
            records.iter().map(|(owner, kind, ttl, data)| record(owner, *kind, *ttl, data)).collect();
        let _ = read(&message(flags, "www.example", &answers, &[]));
        let _ = read(&message(flags, "www.example", &[], &answers));
    }
}
