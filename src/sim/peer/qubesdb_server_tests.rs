use super::*;
use alloc::vec;

fn message(kind: u8, path: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[0] = kind;
    bytes[1..][..path.len()].copy_from_slice(path.as_bytes());
    bytes[68..].copy_from_slice(&(value.len() as u32).to_le_bytes());
    bytes.extend(value);
    bytes
}

/// What becomes of a daemon with `/a/b` and `/a/c` that was asked for everything, and then is sent `bytes`.
fn sent(bytes: &[u8]) -> QubesDbServer {
    let mut server = QubesDbServer::default();
    server.write("/a/b", b"1");
    server.write("/a/c", b"2");
    server.connected();
    server.receive(&message(MULTIREAD, "", &[]), 4096);
    server.output().clear();
    server.receive(bytes, 4096);
    server
}

fn end(bytes: &[u8]) -> Option<DaemonEnd> {
    sent(bytes).end
}

#[test]
fn sends_everything_backwards_and_then_each_change() {
    let mut server = QubesDbServer::default();
    server.write("/a", b"1");
    server.write("/b", b"");
    server.connected();
    server.write("/c", b"3");
    assert!(server.output().is_empty(), "nothing was asked for");
    server.receive(&message(MULTIREAD, "", &[]), 4096);
    server.write("/a", b"2");
    assert!(server.remove("/b"));
    assert!(!server.remove("/b"), "what is not there is not removed again");
    let sent: Vec<u8> = server.output().drain(..).collect();
    let mut rest = sent.as_slice();
    let mut seen = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(HEADER) {
        let end = header.iter().skip(1).position(|&byte| byte == 0).unwrap();
        let (value, after) = after.split_at(header[68].into());
        seen.push((header[0], String::from_utf8(header[1..=end].to_vec()).unwrap(), value.to_vec()));
        rest = after;
    }
    let expected =
        [(11, "/c", "3"), (11, "/b", ""), (11, "/a", "1"), (11, "", ""), (1, "/a", "2"), (4, "/b", "")];
    assert_eq!(seen, expected.map(|(kind, path, value)| (kind, path.to_string(), value.as_bytes().to_vec())));
}

#[test]
fn what_its_own_client_sends_is_no_reason_to_end() {
    let mut server = sent(&[]);
    server.write("/a/d", b"3");
    server.receive(&message(OK, "/a/d", &[]), 4096);
    server.receive(&[message(WRITE, "/x", b"1"), message(RM, "/x", &[])].concat(), 4096);
    server.receive(&message(RM, "/a/", &[]), 4096);
    assert!(server.entries().is_empty());
    server.closed();
    assert_eq!((server.end(), server.reproaches()), (None, [].as_slice()));
}

#[test]
fn ends_on_types_that_it_does_not_take_from_a_vchan() {
    for kind in [0, 3, 5, 6, NOENT, 10, 12, 13, 255] {
        assert_eq!(end(&message(kind, "/a/b", &[])), Some(DaemonEnd::Type(kind)));
    }
    assert_eq!(end(&message(RESP_MULTIREAD, "/a/b", &[])), Some(DaemonEnd::Entry));
}

#[test]
fn ends_on_a_value_of_3072_bytes() {
    assert_eq!(end(&message(WRITE, "/x", &[1; 3071])), None);
    assert_eq!(end(&message(WRITE, "/x", &[1; 3072])), Some(DaemonEnd::DataLength(3072)));
}

#[test]
fn ends_on_characters_that_no_path_has() {
    for path in ["/a b", "/ä", "-a", "/a\n", "/a*"] {
        assert_eq!(end(&message(OK, path, &[])), Some(DaemonEnd::PathCharacter(path.to_string())));
    }
}

#[test]
fn ends_on_a_write_to_what_is_no_entry_and_cuts_what_is_too_long() {
    for path in ["x", "/x/", ""] {
        assert_eq!(end(&message(WRITE, path, b"1")), Some(DaemonEnd::WritePath(path.to_string())));
    }
    let long = "/".to_string() + &"x".repeat(63);
    let server = sent(&message(WRITE, &long, b"1"));
    assert_eq!(server.reproaches(), [Reproach::CutPath(long.clone())]);
    assert!(server.entries().contains_key(&long[..63]));
}

#[test]
fn ends_on_a_second_request_for_everything() {
    assert_eq!(end(&message(MULTIREAD, "", &[])), Some(DaemonEnd::SecondMultiRead));
}

#[test]
fn ends_on_a_removal_of_what_it_does_not_have() {
    assert_eq!(end(&message(RM, "/a", &[])), Some(DaemonEnd::RemovedUnknown("/a".to_string())));
    assert_eq!(end(&message(RM, "/b/", &[])), Some(DaemonEnd::RemovedUnknown("/b/".to_string())));
}

#[test]
fn ends_on_a_removal_when_its_answer_does_not_fit() {
    let mut server = sent(&[]);
    server.receive(&message(RM, "/a/b", &[]), 71);
    assert_eq!(server.end(), Some(&DaemonEnd::NoRoomForAnswer));
}

#[test]
fn ends_on_an_error_with_a_value_and_takes_that_of_an_ok_for_a_message() {
    assert_eq!(end(&message(ERROR, "/a/b", b"1")), Some(DaemonEnd::ErrorWithData));
    let server = sent(&message(OK, "/a/b", &[0; 100]));
    assert_eq!(
        (server.end(), server.reproaches()),
        (Some(&DaemonEnd::Type(0)), [Reproach::OkWithData].as_slice())
    );
}

#[test]
fn ends_when_the_other_end_closes_before_it_has_asked_for_anything() {
    let mut server = QubesDbServer::default();
    server.connected();
    server.closed();
    assert_eq!(server.end(), Some(&DaemonEnd::ClosedBeforeRequest));
}

#[test]
fn refuses_values_where_there_should_be_none_and_goes_on() {
    let mut server = sent(&message(RM, "/a/b", b"1"));
    server.receive(&message(WRITE, "/x", b"a\0b"), 4096);
    let expected = [Reproach::UnexpectedData(RM), Reproach::NulInData("/x".to_string())];
    assert_eq!((server.end(), server.reproaches()), (None, expected.as_slice()));
    assert_eq!(server.entries().len(), 2);
}
