//! What the first bytes of a connection are.
//!
//! Owns the gate between bytes and a protocol: TLS, HTTP/1, or nothing that is let through. It is certain
//! or undecided and never guesses, so that bytes which arrive one by one are judged as if they had arrived
//! at once. Must not know connections or time: whoever reads gives up on the undecided.

/// What a connection's first bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// More bytes are needed; there are never more than [`LONGEST_UNDECIDED`] of them.
    Undecided,
    /// A TLS record that holds a handshake.
    Tls,
    /// An HTTP/1 request line up to the space after its method.
    Http1,
    /// Neither, with what it is instead.
    Refused(&'static str),
}

/// Bytes after which every connection is classified.
pub const LONGEST_UNDECIDED: usize = LONGEST_METHOD;

/// Longest method, bytes.
const LONGEST_METHOD: usize = 32;
/// Longest TLS record, bytes: a plain one and what encryption may add.
const LONGEST_RECORD: u16 = 16_640;
/// A TLS record that holds a handshake.
const RECORD_HANDSHAKE: u8 = 22;
/// A handshake message that opens a connection.
const CLIENT_HELLO: u8 = 1;
/// What a client of HTTP/2 sends first when it skips the negotiation; its method ends after `PRI`.
const HTTP2_METHOD: &[u8] = b"PRI";

/// What a connection is that began with these bytes. Once it is not [`Class::Undecided`], more bytes do not
/// change it.
#[must_use]
pub fn classify(prefix: &[u8]) -> Class {
    match prefix.first() {
        None => Class::Undecided,
        Some(&RECORD_HANDSHAKE) => classify_record(prefix),
        Some(first) if is_method_byte(*first) => classify_method(prefix),
        Some(_) => Class::Refused("neither TLS nor HTTP"),
    }
}

/// A record: type, version (2), length (2), then the type of the message in it.
fn classify_record(prefix: &[u8]) -> Class {
    let at = |place: usize| prefix.get(place).copied();
    if at(1).is_some_and(|major| major != 3) || at(2).is_some_and(|minor| !(1..=4).contains(&minor)) {
        return Class::Refused("a TLS record of an unknown version");
    }
    if let (Some(high), Some(low)) = (at(3), at(4))
        && !(1..=LONGEST_RECORD).contains(&u16::from_be_bytes([high, low]))
    {
        return Class::Refused("a TLS record of an impossible length");
    }
    match at(5) {
        None => Class::Undecided,
        Some(CLIENT_HELLO) => Class::Tls,
        Some(_) => Class::Refused("a TLS record that opens no connection"),
    }
}

/// A method, which ends with a space.
fn classify_method(prefix: &[u8]) -> Class {
    let head = &prefix[..prefix.len().min(LONGEST_METHOD + 1)];
    match head.iter().position(|byte| !is_method_byte(*byte)) {
        None if head.len() > LONGEST_METHOD => Class::Refused("no HTTP method is that long"),
        None => Class::Undecided,
        Some(end) if head[end] != b' ' => Class::Refused("neither TLS nor HTTP"),
        Some(end) if &head[..end] == HTTP2_METHOD => Class::Refused("HTTP/2 without negotiation"),
        Some(_) => Class::Http1,
    }
}

/// Methods are upper case in practice, and what is not is rather another protocol.
fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Vec<u8> {
        vec![22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]
    }

    #[test]
    fn tls_and_http_are_known_at_the_first_certain_byte() {
        let hello = hello();
        for end in 0..6 {
            assert_eq!(classify(&hello[..end]), Class::Undecided, "{end}");
        }
        assert_eq!(classify(&hello[..6]), Class::Tls);
        for (text, at) in [("GET / HTTP/1.1", 4), ("CONNECT a:443 HTTP/1.1", 8), ("M-SEARCH * HTTP/1.1", 9)] {
            for end in 0..at {
                assert_eq!(classify(&text.as_bytes()[..end]), Class::Undecided, "{text} {end}");
            }
            assert_eq!(classify(&text.as_bytes()[..at]), Class::Http1, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_at_once() {
        let records: &[&[u8]] = &[
            &[22, 2],
            &[22, 3, 0],
            &[22, 3, 5],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x41, 1],
            &[22, 3, 1, 2, 0, 2],
            &[21],
            &[23, 3, 3],
            &[0x80, 0x2e, 1],
            &[0],
        ];
        let others = [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "SSH-2.0-x\r\n",
            "get / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET\r\n",
            "\r\nGET / HTTP/1.1",
            " GET /",
            "EHLO\r\n",
            "{}",
            "\u{5}\u{1}\u{0}",
        ];
        let longest = "A".repeat(LONGEST_METHOD);
        assert_eq!(classify(format!("{longest} /").as_bytes()), Class::Http1);
        assert!(matches!(classify(format!("{longest}A").as_bytes()), Class::Refused(_)));
        for bytes in records.iter().copied().chain(others.iter().map(|text| text.as_bytes())) {
            assert!(matches!(classify(bytes), Class::Refused(_)), "{bytes:?}");
        }
    }

    fn opening() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..48),
            "[A-Z_-]{0,40} ?.{0,8}".prop_map(String::into_bytes),
            (proptest::collection::vec(any::<u8>(), 0..8), 0usize..8).prop_map(|(tail, keep)| {
                let mut bytes = hello();
                bytes.truncate(keep);
                bytes.extend(tail);
                bytes
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_class_does_not_depend_on_how_the_bytes_are_cut(bytes in opening()) {
            let whole = classify(&bytes);
            let grown = (0..=bytes.len()).map(|end| classify(&bytes[..end]));
            let first = grown.clone().find(|class| *class != Class::Undecided);
            prop_assert_eq!(first.unwrap_or(Class::Undecided), whole);
            prop_assert!(whole != Class::Undecided || bytes.len() <= LONGEST_UNDECIDED);
        }
    }
}
