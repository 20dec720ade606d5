//! Reads HTTP/1.1 requests as the strictest server would: what it accepts has one reading only.

/// A request as it came over the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawRequest {
    pub method: String,
    pub target: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

/// Names and values.
pub type Fields = Vec<(String, String)>;

impl RawRequest {
    /// All values of a header.
    pub fn values(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The one value of a header.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        match *self.values(name) {
            [value] => value,
            ref values => panic!("{name} is {values:?} in {self:?}"),
        }
    }
}

pub fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = headers.iter().filter(|(other, _)| other == name);
    named.map(|(_, value)| value.as_str()).collect()
}

/// Why bytes are no request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// More must follow.
    Incomplete,
    Malformed(String),
}

/// Reads one request off the start of `bytes`; also returns how many bytes it has.
pub fn parse_request(bytes: &[u8]) -> Result<(RawRequest, usize), Fault> {
    let mut reader = Reader { bytes, at: 0 };
    let mut request = reader.head()?;
    let lengths = request.values("content-length");
    let codings = request.values("transfer-encoding");
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) => {
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits);
            let length = length.ok_or_else(|| malformed("content-length", &lengths))?;
            request.body = reader.take(length)?.to_vec();
        }
        ([], ["chunked"]) => (request.body, request.trailers) = reader.chunks()?,
        _ => return Err(malformed("framing", &(lengths, codings))),
    }
    Ok((request, reader.at))
}

/// Reads the head of a request; also returns how many bytes it has.
pub fn parse_head(bytes: &[u8]) -> Result<(RawRequest, usize), Fault> {
    let mut reader = Reader { bytes, at: 0 };
    Ok((reader.head()?, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn head(&mut self) -> Result<RawRequest, Fault> {
        let line = self.line()?;
        let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
            return Err(malformed("request line", &line));
        };
        let target_is_plain = !target.is_empty() && target.bytes().all(|byte| byte > b' ');
        if !is_token(method) || !target_is_plain {
            return Err(malformed("request line", &line));
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        let headers = self.fields()?;
        let request = RawRequest {
            method,
            target,
            headers,
            ..RawRequest::default()
        };
        match request.values("host").len() {
            1 => Ok(request),
            count => Err(malformed("count of Host headers", &count)),
        }
    }

    fn fields(&mut self) -> Result<Fields, Fault> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return Err(malformed("header", &line));
            };
            let value = value.strip_prefix(' ').unwrap_or(value);
            let plain = value == value.trim() && !value.bytes().any(|byte| byte < b' ');
            if !is_token(name) || !plain {
                return Err(malformed("header", &line));
            }
            fields.push((name.to_lowercase(), value.to_owned()));
        }
    }

    fn chunks(&mut self) -> Result<(Vec<u8>, Fields), Fault> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let hex = line.len() <= 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = usize::from_str_radix(&line, 16).ok().filter(|_| hex);
            let size = size.ok_or_else(|| malformed("chunk size", &line))?;
            if size == 0 {
                return Ok((body, self.fields()?));
            }
            body.extend_from_slice(self.take(size)?);
            let end = self.line()?;
            if !end.is_empty() {
                return Err(malformed("end of a chunk", &end));
            }
        }
    }

    /// A line that ends by CR LF and has neither in it.
    fn line(&mut self) -> Result<String, Fault> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(end) = end else {
            return Err(Fault::Incomplete);
        };
        match rest[end..] {
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                let line = &rest[..end];
                if line.iter().any(|&byte| byte == 0 || byte == 127) {
                    return Err(malformed("control character", &line));
                }
                Ok(String::from_utf8_lossy(line).into_owned())
            }
            [b'\r'] => Err(Fault::Incomplete),
            _ => Err(malformed("line end", &String::from_utf8_lossy(rest))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.get(..length).ok_or(Fault::Incomplete)?;
        self.at += length;
        Ok(taken)
    }
}

fn is_token(text: &str) -> bool {
    let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(in_token)
}

fn malformed(what: &str, seen: &impl std::fmt::Debug) -> Fault {
    Fault::Malformed(format!("{what}: {seen:?}"))
}

#[test]
fn the_strict_reader_is_strict() {
    let good = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\nGET";
    let (request, length) = parse_request(good).unwrap();
    assert_eq!(
        (request.body.as_slice(), length),
        (&b"abc"[..], good.len() - 3)
    );
    assert_eq!(values(&request.trailers, "t"), ["u"]);
    assert_eq!(parse_request(&good[..length - 1]), Err(Fault::Incomplete));
    let bad = [
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ];
    for request in bad {
        let fault = parse_request(request.as_bytes());
        assert!(matches!(fault, Err(Fault::Malformed(_))), "{request:?}");
    }
}
