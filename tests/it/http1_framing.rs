//! Requests whose end could be found in two places: refused, or sent on in the one form that
//! everybody reads alike.

use crate::support::{End, Table};

fn post(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: web.example\r\n{headers}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\nConnection: close\r\n", body)
}

#[tokio::test]
async fn malformed_lengths_are_refused() {
    let mut table = Table::start("").await;
    let lengths = [
        "+5",
        "-1",
        "-0",
        "0x5",
        "1_0",
        "5 5",
        "",
        "123abc",
        "5.0",
        "5;",
        "5,",
        ",5",
        "5, 6",
        "\"5\"",
        "\u{663}",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    for length in lengths {
        table
            .refuses(
                post(&format!("Content-Length: {length}\r\n"), "hello"),
                &[400, 413, 431],
            )
            .await;
    }
    for (first, second) in [("5", "6"), ("6", "5"), ("5", "x"), ("0", "5"), ("5", "")] {
        let both = format!("Content-Length: {first}\r\nContent-Length: {second}\r\n");
        table.refuses(post(&both, "hello"), &[400]).await;
    }
    table.finish(lengths.len() + 5);
}

#[tokio::test]
async fn equal_lengths_are_refused() {
    let mut table = Table::start("").await;
    let whole = ["POST", "/", "web.example", "hello"];
    let twice = "Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n";
    table.refuses(post(twice, "hello"), &[400]).await;
    table
        .forwards(
            post("Content-Length:\t5 \r\nConnection: close\r\n", "hello"),
            whole,
        )
        .await;
    table.finish(2);
}

#[tokio::test]
async fn unknown_and_doubtful_codings_are_refused() {
    let mut table = Table::start("").await;
    let codings = [
        "chunked, identity",
        "identity, chunked",
        "gzip",
        "identity",
        "xchunked",
        "chunkedx",
        "",
        "gzip, chunked",
        "chunked, chunked",
        "chunked\u{b}",
        ",chunked",
        ", chunked",
        "chunked,",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "chun ked",
        "chunked gzip",
        "\u{fc}chunked",
        "chunked, gzip",
        "deflate",
        "chunked\0",
    ];
    for coding in codings {
        let header = format!("Transfer-Encoding: {coding}\r\n");
        table.refuses(post(&header, "0\r\n\r\n"), &[400, 501]).await;
    }
    let headers = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: cow\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: gzip,\r\n\tchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
    ];
    for header in headers {
        table.refuses(post(header, "0\r\n\r\n"), &[400, 501]).await;
    }
    let old = "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    table.refuses(old, &[400, 501]).await;
    table.finish(codings.len() + headers.len() + 1);
}

/// Refused, or (RFC 9112 section 6.1) read by its chunks, sent on without the length, and the
/// connection closed: what the length would have left over is never a request.
#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: web.example\r\n\r\n";
    let mut table = Table::start("").await;
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 100\r\nTransfer-Encoding: chunked\r\nContent-Length: 100\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        for body in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"] {
            let request = post(headers, &format!("{body}{smuggled}"));
            let before = table.backend.requests().len();
            let talk = table.talk(&request).await;
            let requests = table.backend.requests();
            let forwarded = &requests[before..];
            let clean = forwarded
                .iter()
                .all(|request| request.target == "/" && request.values("content-length").len() < 2);
            let holds = talk.end != End::Open && talk.statuses().len() == 1 && clean;
            table.note(&request, holds && forwarded.len() < 2, (talk, forwarded));
        }
    }
    table.finish(10);
}

#[tokio::test]
async fn a_broken_chunk_is_never_a_clean_end() {
    let mut table = Table::start("").await;
    let sizes = [
        "0x5",
        "+5",
        "-0x0",
        "-5",
        "5_",
        " 5",
        "\t5",
        "g",
        "",
        "5h",
        "5,",
        "5 5",
        "0005 x",
        "00000000000000000000000000000005h",
        "f0000000000000005",
        "11111111111111111",
        "\u{665}",
        "5\0",
        "5\r",
        "5\u{b}",
        "5\u{c}",
    ];
    for size in sizes {
        table
            .breaks_off(chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")))
            .await;
    }
    let bodies = [
        // The line end is missing, or is half of one.
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        // Nothing tells a size from the data.
        "5\r\nhell\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
        // Trailers that are none.
        "0\r\nno colon\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\nA: b\0c\r\n\r\n",
    ];
    for body in bodies {
        table.breaks_off(chunked(body)).await;
    }
    let extension = "x".repeat(17 * 1024);
    table
        .breaks_off(chunked(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n")))
        .await;
    // Many small ones are as much work as a large one.
    let extension = format!("1;{}\r\nx\r\n", "y".repeat(1000));
    table
        .breaks_off(chunked(&format!("{}0\r\n\r\n", extension.repeat(17))))
        .await;
    let trailers = format!("A: {}\r\n", "b".repeat(1000)).repeat(65);
    table
        .breaks_off(chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n")))
        .await;
    table
        .breaks_off(chunked(&format!(
            "5\r\nhello\r\n0\r\n{}\r\n",
            "A: b\r\n".repeat(101)
        )))
        .await;
    table.finish(sizes.len() + bodies.len() + 4);
}

#[tokio::test]
async fn odd_but_clear_chunks_arrive_in_canonical_form() {
    let mut table = Table::start("").await;
    let bodies = [
        "5\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n00\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;extension=\"a b\"\r\nhello\r\n0;last\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n",
    ];
    for body in bodies {
        table
            .forwards(chunked(body), ["POST", "/", "web.example", "hello"])
            .await;
    }
    for coding in ["CHUNKED", "Chunked", " chunked\t"] {
        let headers = format!("Transfer-Encoding:{coding}\r\nConnection: close\r\n");
        let request = post(&headers, "5\r\nhello\r\n0\r\n\r\n");
        table
            .forwards(request, ["POST", "/", "web.example", "hello"])
            .await;
    }
    // Neither is allowed, and neither has a second reading: refused or made canonical.
    for size in ["5 ", "5\t", "5 ;a", "5;\0"] {
        let request = chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
        let before = table.backend.requests().len();
        let talk = table.talk(&request).await;
        let requests = table.backend.requests();
        let bodies: Vec<_> = requests[before..]
            .iter()
            .map(|seen| seen.body.as_slice())
            .collect();
        let holds = match talk.statuses()[..] {
            [400] => bodies.is_empty(),
            [200] => bodies == [b"hello"],
            _ => false,
        };
        table.note(&request, holds, talk);
    }
    table.finish(bodies.len() + 3 + 4);
}

#[tokio::test]
async fn malformed_heads_are_refused() {
    let mut table = Table::start("").await;
    let lines = [
        "A : b",
        " A: b",
        "\tA: b",
        ": b",
        "no colon",
        "A: b\r\n folded",
        "A: b\r\n\tfolded",
        "A: b\0c",
        "A: b\u{1}c",
        "A: b\u{7f}c",
        "A: b\rc",
        "A b: c",
        "A\t: b",
        "A(: b",
        "\u{e4}: b",
        "A\0: b",
        "\0",
        "A: b\u{8}",
        "A: \u{1b}[31m",
        "Host : web.example",
    ];
    for line in lines {
        let head = format!("GET / HTTP/1.1\r\nHost: web.example\r\n{line}\r\nB: c\r\n\r\n");
        table.refuses(head, &[400]).await;
        // A header that is wrong in the first place must not become part of the request line.
        let head = format!("GET / HTTP/1.1\r\n{line}\r\nHost: web.example\r\n\r\n");
        table.refuses(head, &[400]).await;
    }
    let request_lines = [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / x HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET / HTTP/1.2x",
        "GET / HTTP/2.0",
        "GET / HTTP/3",
        "GET / http/1.1",
        "GET / HTTP/01.1",
        "GET / HTTP/1.10",
        "GET / ICY/1.1",
        "G@T / HTTP/1.1",
        "GET( / HTTP/1.1",
        "GET:/ HTTP/1.1",
        "GET /",
        "GET",
        "/ HTTP/1.1",
        "GET / HTTP/1.1\rX: y",
        "\u{e4} / HTTP/1.1",
    ];
    for line in request_lines {
        table
            .refuses(format!("{line}\r\nHost: web.example\r\n\r\n"), &[400, 505])
            .await;
    }
    table.finish(2 * lines.len() + request_lines.len());
}

/// RFC 9112 section 2.2 lets a server take a bare LF for a line end. What goes on has none.
#[tokio::test]
async fn bare_line_feeds_are_refused_or_made_canonical() {
    let mut table = Table::start("").await;
    for head in [
        "GET / HTTP/1.1\nHost: web.example\nConnection: close\n\n",
        "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\n\r\n",
        "GET / HTTP/1.1\r\nHost: web.example\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\nHost: web.example\r\nConnection: close\r\n\n",
        "\r\nGET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n",
        "\n\nGET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n",
    ] {
        let before = table.backend.requests().len();
        let talk = table.talk(head).await;
        let forwarded = table.backend.requests().len() - before;
        let holds = matches!((&talk.statuses()[..], forwarded), ([200], 1) | ([400], 0));
        table.note(head, holds && talk.end != End::Open, talk);
    }
    table.finish(6);
}
