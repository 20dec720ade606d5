//! A name server for tests.

use std::{
    net::SocketAddr,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use super::*;

/// A name server with an answer for each name. Stops when it is dropped.
pub(in crate::control) struct NameServer {
    pub(super) addr: SocketAddr,
    /// Names and types in the order they were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    pub(in crate::control) async fn start() -> Self {
        let (udp, tcp) = bind().await;
        let addr = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, Arc::clone(&asked)));
        tasks.spawn(serve_tcp(tcp, Arc::clone(&asked)));
        Self {
            addr,
            asked,
            _tasks: tasks,
        }
    }

    pub(in crate::control) fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    pub(in crate::control) fn resolver(&self) -> Resolver {
        Resolver::with_nameserver(self.addr).unwrap()
    }
}

/// The same free port for both protocols.
async fn bind() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both protocols");
}

async fn serve_udp(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 1_024];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).await.unwrap();
        if let Some(answer) = answer(&buffer[..count], &asked) {
            let whole = answer.to_vec().unwrap();
            let message = if whole.len() > 1_232 {
                answer.truncate().to_vec().unwrap()
            } else {
                whole
            };
            socket.send_to(&message, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _from) = listener.accept().await.unwrap();
        while let Ok(question) = read_framed(&mut stream).await {
            if let Some(answer) = answer(&question, &asked) {
                let answer = answer.to_vec().unwrap();
                let length = u16::try_from(answer.len()).unwrap();
                stream.write_all(&length.to_be_bytes()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        }
    }
}

async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// `None`: silence.
fn answer(question: &[u8], asked: &Mutex<Vec<String>>) -> Option<Message> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries.first().unwrap().clone();
    let name = query.name().to_string();
    let kind = query.query_type();
    asked.lock().unwrap().push(format!("{name} {kind}"));
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.recursion_desired = true;
    answer.add_query(query);
    let mut add = |name: &str, ttl, data| {
        let name = Name::from_ascii(name).unwrap();
        answer.add_answer(Record::from_rdata(name, ttl, data));
    };
    let v4 = |last| RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, last)));
    let v6 = |last| {
        RData::AAAA(rdata::AAAA(Ipv6Addr::new(
            0x2001, 0xdb8, 0, 0, 0, 0, 0, last,
        )))
    };
    if let Some(data) = for_names(&name, kind, &asked.lock().unwrap()) {
        add(&name, 600, data);
        return Some(answer);
    }
    match (name.as_str(), kind) {
        ("both.test.", RecordType::A) => {
            [2, 1, 2]
                .into_iter()
                .for_each(|last| add(&name, 60, v4(last)));
        }
        ("both.test.", RecordType::AAAA) => add(&name, 30, v6(1)),
        ("short.test.", RecordType::A) => add(&name, 0, v4(1)),
        ("long.test.", RecordType::A) => add(&name, 86_400, v4(1)),
        ("one_family.test.", RecordType::A) => add(&name, 60, v4(1)),
        ("one_family.test.", _) => return None,
        ("alias.test.", RecordType::A) => {
            add(
                &name,
                20,
                RData::CNAME(rdata::CNAME(Name::from_ascii("target.test.").unwrap())),
            );
            add("target.test.", 60, v4(9));
        }
        ("many.test.", RecordType::A) => (0..1_000).for_each(|n: u16| {
            let [high, low] = n.to_be_bytes();
            add(
                &name,
                60,
                RData::A(rdata::A(Ipv4Addr::new(10, 0, high, low))),
            );
        }),
        ("web.search.test." | "svc.other.test." | "my_app.machine.test.", RecordType::A) => {
            add(&name, 60, v4(1))
        }
        ("web.search.test." | "svc.other.test." | "my_app.machine.test.", _) => {}
        ("silent.test.", _) => return None,
        ("broken.test.", _) => answer.metadata.response_code = ResponseCode::ServFail,
        (
            "empty.test." | "moves.test." | "short.test." | "long.test." | "alias.test."
            | "many.test.",
            _,
        ) => {}
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(answer)
}

/// What the tests of `names` look up.
fn for_names(name: &str, kind: RecordType, asked: &[String]) -> Option<RData> {
    let v4 = |addr| Some(RData::A(rdata::A(addr)));
    match (name, kind) {
        // As a container's that was created again.
        ("moves.test.", RecordType::A) => {
            let questions = asked
                .iter()
                .filter(|asked| *asked == "moves.test. A")
                .count();
            v4(Ipv4Addr::new(192, 0, 2, if questions == 1 { 1 } else { 2 }))
        }
        ("local.test.", RecordType::A) => v4(Ipv4Addr::LOCALHOST),
        ("local.test.", RecordType::AAAA) => Some(RData::AAAA(rdata::AAAA(Ipv6Addr::LOCALHOST))),
        _ => None,
    }
}
