//! Where a request ends and the next one begins, by the strictest reading.
//!
//! Owns the walk over heads, bodies and chunks. Must not know connections: bytes come in pieces of any
//! size, and the outcome is the same for each way to cut them.

/// What is wrong with a request.
pub type Fault = &'static str;

/// The walk.
pub struct Framing {
    state: State,
    /// The head or line that is not complete.
    held: Vec<u8>,
    /// Where the line begins that is not complete, within `held`.
    line: usize,
    longest: usize,
    head: Head,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Bytes of the body that are to come.
    Body(u64),
    ChunkSize,
    /// Bytes of the chunk that are to come.
    Chunk(u64),
    /// The end of a chunk's last line: how much of it was seen.
    ChunkEnd,
    /// Bytes of trailers so far.
    Trailers(usize),
    Raw,
    Refused,
}

/// What the lines of a head said so far.
#[derive(Clone, Copy, Default)]
struct Head {
    lines: usize,
    connect: bool,
    old: bool,
    length: Option<u64>,
    chunked: bool,
}

/// Longest line that begins a chunk, bytes.
const LONGEST_SIZE: usize = 1024;
/// Most bytes of trailers.
const LONGEST_TRAILERS: usize = 16 << 10;

impl Framing {
    /// A walk from a connection's first byte on. A head may be `longest` bytes long.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { state: State::Head, held: Vec::new(), line: 0, longest, head: Head::default() }
    }

    /// Whether the bytes are no longer requests.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.state == State::Raw
    }

    /// Whether a fault was noted; nothing passes any more.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state == State::Refused
    }

    /// Whether the beginning of a head is there and its end is not.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.state == State::Head && !self.held.is_empty()
    }

    /// From now on nothing is checked; gives what was held back.
    pub fn release(&mut self) -> Vec<u8> {
        self.state = State::Raw;
        std::mem::take(&mut self.held)
    }

    /// Takes note of a fault; whether it was in a head, so that another can be put in its place.
    pub fn begin_refusal(&mut self) -> bool {
        let in_head = self.state == State::Head;
        self.state = State::Refused;
        self.held = Vec::new();
        in_head
    }

    /// Takes bytes and appends to `out` what was checked.
    ///
    /// # Errors
    /// When the end of a request is doubtful. `out` has what was checked before; nothing may follow it.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        while !bytes.is_empty() {
            match self.state {
                State::Raw => {
                    out.extend_from_slice(bytes);
                    return Ok(());
                }
                State::Refused => return Ok(()),
                State::Body(left) => {
                    let left = pass(&mut bytes, left, out);
                    self.state = if left == 0 { State::Head } else { State::Body(left) };
                }
                State::Chunk(left) => {
                    let left = pass(&mut bytes, left, out);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                }
                State::Head => self.push_head(&mut bytes, out)?,
                State::ChunkSize | State::ChunkEnd | State::Trailers(_) => {
                    self.push_line(&mut bytes, out)?;
                }
            }
        }
        Ok(())
    }

    /// Takes bytes up to the end of a line of the head, or all.
    fn push_head(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let end = take_line(bytes, &mut self.held);
        if self.held.len() > self.longest {
            return Err("the head is too long");
        }
        if !end {
            return Ok(());
        }
        let line = ended(&self.held[self.line..])?;
        if !line.is_empty() {
            self.head.read(line)?;
            self.line = self.held.len();
            return Ok(());
        }
        self.state = self.head.finish()?;
        out.append(&mut self.held);
        self.line = 0;
        self.head = Head::default();
        Ok(())
    }

    /// Takes bytes up to the end of a line between chunks, or all.
    fn push_line(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let end = take_line(bytes, &mut self.held);
        let longest = if matches!(self.state, State::Trailers(_)) { LONGEST_TRAILERS } else { LONGEST_SIZE };
        if self.held.len() > longest {
            return Err("a line between chunks is too long");
        }
        if !end {
            return Ok(());
        }
        let line = ended(&self.held)?;
        self.state = match self.state {
            State::ChunkSize => match read_chunk_size(line)? {
                0 => State::Trailers(0),
                size => State::Chunk(size),
            },
            State::ChunkEnd if line.is_empty() => State::ChunkSize,
            State::ChunkEnd => return Err("a chunk is longer than it says"),
            State::Trailers(_) if line.is_empty() => State::Head,
            State::Trailers(before) => {
                split_header(line)?;
                let so_far = before + self.held.len();
                if so_far > LONGEST_TRAILERS {
                    return Err("the trailers are too long");
                }
                State::Trailers(so_far)
            }
            other => other,
        };
        out.append(&mut self.held);
        Ok(())
    }
}

/// Moves what belongs to a body; gives what is still to come.
fn pass(bytes: &mut &[u8], left: u64, out: &mut Vec<u8>) -> u64 {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let (now, later) = bytes.split_at(count);
    out.extend_from_slice(now);
    *bytes = later;
    left - count as u64
}

/// Moves bytes up to and including a line feed, or all; whether there was one.
fn take_line(bytes: &mut &[u8], held: &mut Vec<u8>) -> bool {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (now, later) = bytes.split_at(end.map_or(bytes.len(), |at| at + 1));
    held.extend_from_slice(now);
    *bytes = later;
    end.is_some()
}

/// A line without its end, which is a carriage return and a line feed; neither is in it.
fn ended(line: &[u8]) -> Result<&[u8], Fault> {
    let line = line.strip_suffix(b"\r\n").ok_or("a line does not end in CR LF")?;
    match line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
        true => Err("a line has a bare CR or a NUL"),
        false => Ok(line),
    }
}

/// A header's name and value.
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err("a header is continued on a second line");
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a header has no colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    match !name.is_empty() && name.iter().all(token) {
        true => Ok((name, value.trim_ascii())),
        false => Err("a header's name has a character that no name has"),
    }
}

fn read_chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let good = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| good);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or("a chunk's size is no number")
}

impl Head {
    /// Reads one line that is not empty.
    fn read(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.lines += 1;
        if self.lines == 1 {
            return self.read_request(line);
        }
        let (name, value) = split_header(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let good = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(value).ok().filter(|_| good);
            let length = text.and_then(|text| text.parse().ok()).ok_or("Content-Length is no number")?;
            if self.length.replace(length).is_some() {
                return Err("Content-Length is there more than once");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked {
                return Err("Transfer-Encoding is there more than once");
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Transfer-Encoding is not exactly `chunked`");
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// Method, target and version, one space between.
    fn read_request(&mut self, line: &[u8]) -> Result<(), Fault> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (method, target, version) = (parts.next(), parts.next(), parts.next());
        let target = target.filter(|target| !target.is_empty() && parts.next().is_none());
        let target = target.ok_or("the request line has not three parts")?;
        if target.iter().any(|byte| *byte <= b' ' || *byte >= 0x7f || *byte == b'#') {
            return Err("the request's target has a character that no target has");
        }
        self.connect = method == Some(b"CONNECT");
        self.old = version == Some(b"HTTP/1.0");
        match self.old || version == Some(b"HTTP/1.1") {
            true => Ok(()),
            false => Err("the request is of an unknown version of HTTP"),
        }
    }

    /// What follows the head.
    fn finish(self) -> Result<State, Fault> {
        match (self.length, self.chunked) {
            _ if self.lines == 0 => Err("the request line is empty"),
            (Some(_), true) => Err("Content-Length and Transfer-Encoding are both there"),
            (None, true) if self.old => Err("HTTP/1.0 has no Transfer-Encoding"),
            (None | Some(0), false) if self.connect => Ok(State::Raw),
            _ if self.connect => Err("CONNECT has no body"),
            (_, true) => Ok(State::ChunkSize),
            (None | Some(0), false) => Ok(State::Head),
            (Some(length), false) => Ok(State::Body(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out for an input that is cut into pieces of this size.
    fn cut(input: &[u8], size: usize) -> (Vec<u8>, Result<(), Fault>) {
        let mut framing = Framing::new(256);
        let mut out = Vec::new();
        for piece in input.chunks(size) {
            if let Err(fault) = framing.push(piece, &mut out) {
                return (out, Err(fault));
            }
        }
        out.extend(framing.release());
        (out, Ok(()))
    }

    #[test]
    fn good_requests_pass_unchanged_however_they_are_cut() {
        let requests = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\nb\r\nGET / HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\na\nb\r\n0A;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\n\r\n\n\n\0 anything",
            "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nDELETE / HTTP/1.1\r\n\r\n",
        ];
        for request in requests {
            for size in 1..=request.len() {
                assert_eq!(cut(request.as_bytes(), size), (request.as_bytes().to_vec(), Ok(())), "{request}");
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_however_it_is_cut() {
        let heads = [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Content-Length: 4, 4\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length:\r\n",
            "A: b\n",
            "A: b\r\r\n",
            "A: b\rc: d\r\n",
            "A: b\0\r\n",
            "A: b\r\n c\r\n",
            "A: b\r\n\tc\r\n",
            " A: b\r\n",
            "A\r\n",
            ": b\r\n",
            "A b: c\r\n",
            "A\u{a0}: c\r\n",
        ];
        let whole = heads.iter().map(|head| format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n"));
        let lines = [
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / x HTTP/1.1\r\n\r\n",
            "GET /\tx HTTP/1.1\r\n\r\n",
            "GET /#x HTTP/1.1\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ];
        for request in whole.chain(lines.map(str::to_owned)) {
            for size in 1..=request.len() {
                let (out, result) = cut(request.as_bytes(), size);
                assert!(result.is_err() && out.is_empty(), "{request:?}");
            }
        }
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(300));
        assert!(cut(long.as_bytes(), 7).1.is_err());
    }

    #[test]
    fn odd_chunks_are_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "1 \r\n",
            "1\n",
            "2\r\nabc\r\n",
            "1\r\na\n",
            "0\r\n x\r\n",
            "10000000000000000\r\n",
        ] {
            let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            for size in 1..=request.len() {
                assert!(cut(request.as_bytes(), size).1.is_err(), "{body:?}");
            }
        }
    }
}
