//! Server-sent events, as far as models' services use them.
//!
//! Owns lines, their ends and which of them are data. Must not know what the data is. The names of events
//! are not kept: the data says what it is.

use super::StreamError;

/// Collects the data of an event.
#[derive(Default)]
pub(super) struct Sse {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last line ended in a carriage return, so a line feed belongs to it.
    after_return: bool,
}

/// The longest event, bytes.
const LONGEST: usize = 1 << 20;

impl Sse {
    /// Reads up to the end of the next event: how many bytes were read, and the event's data when it has
    /// ended.
    pub(super) fn next(&mut self, bytes: &[u8]) -> (usize, Result<Option<Vec<u8>>, StreamError>) {
        for (at, byte) in bytes.iter().enumerate() {
            let after_return = std::mem::take(&mut self.after_return);
            let is_end = match byte {
                b'\n' if after_return => continue,
                b'\r' => {
                    self.after_return = true;
                    true
                }
                b'\n' => true,
                _ => false,
            };
            if !is_end {
                self.line.push(*byte);
                if self.line.len() + self.data.len() > LONGEST {
                    return (at + 1, Err(StreamError::TooLong));
                }
                continue;
            }
            if let Some(data) = self.end_line() {
                return (at + 1, Ok(Some(data)));
            }
        }
        (bytes.len(), Ok(None))
    }

    /// A line has ended; an empty one ends the event.
    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let is_event = std::mem::take(&mut self.has_data);
            let data = std::mem::take(&mut self.data);
            return is_event.then_some(data);
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            // Comments, names of events and the like.
            _ => return None,
        };
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(bytes: &[u8]) -> Vec<String> {
        let (mut sse, mut rest, mut found) = (Sse::default(), bytes, Vec::new());
        while !rest.is_empty() {
            let (read, event) = sse.next(rest);
            rest = &rest[read..];
            found.extend(event.unwrap().map(|data| String::from_utf8(data).unwrap()));
        }
        found
    }

    #[test]
    fn lines_end_in_three_ways_and_only_data_counts() {
        let table: [(&[u8], &[&str]); 7] = [
            (b"data: a\n\ndata: b\n\n", &["a", "b"]),
            (b"data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            (b"data: a\r\rdata:b\r\r", &["a", "b"]),
            (b": comment\nevent: x\nid: 1\ndata: a\ndata: b\n\n", &["a\nb"]),
            (b"event: x\n\n\n\n", &[]),
            (b"data: not ended\n", &[]),
            (b"data\n\ndatas: x\n\n", &[""]),
        ];
        for (bytes, expected) in table {
            assert_eq!(events(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        let mut sse = Sse::default();
        let (_, found) = sse.next(&vec![b'x'; LONGEST + 1]);
        assert_eq!(found, Err(StreamError::TooLong));
        let mut sse = Sse::default();
        let line = b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".repeat(1 << 15);
        assert_eq!(sse.next(&line).1, Err(StreamError::TooLong));
    }
}
