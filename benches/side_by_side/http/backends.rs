//! What stands behind the load balancers: an nginx with bodies of three sizes.

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
};

use crate::{
    http::work_folder::WorkFolder,
    server::{Server, free_addr, free_port},
    tools::{LOAD_CORE, pinned},
};

/// Backends, which share the load generator's core.
#[derive(Debug)]
pub struct Backends {
    /// Ends them when it is dropped.
    _server: Server,
    pub addrs: Vec<SocketAddr>,
}

impl Backends {
    /// Two of them.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let addrs = vec![free_addr()?, free_addr()?];
        Self::listening(&addrs, addrs.clone())
    }

    /// `count` backends with an address each. All of 127.0.0.0/8 is loopback, so one socket that
    /// listens on every address serves them.
    pub fn start_many(count: u16) -> Result<Self, Box<dyn Error>> {
        let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, free_port()?));
        let addrs = (0..count).map(|index| {
            let [high, low] = index.to_be_bytes();
            SocketAddr::from(([127, 1, high, low], everywhere.port()))
        });
        Self::listening(&[everywhere], addrs.collect())
    }

    /// Requests served so far, this one included. Unlike the load generator's summary it is there
    /// while the load runs.
    pub fn requests(&self) -> Result<u64, Box<dyn Error>> {
        let mut stream = TcpStream::connect(self.addrs[0])?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let counts = response
            .lines()
            .skip_while(|line| !line.starts_with("server accepts handled requests"))
            .nth(1);
        let requests = counts.and_then(|counts| counts.split_whitespace().last());
        Ok(requests.ok_or("nginx's status changed")?.parse()?)
    }

    fn listening(listen: &[SocketAddr], addrs: Vec<SocketAddr>) -> Result<Self, Box<dyn Error>> {
        let folder = WorkFolder::create("backends")?;
        write_files(&folder.path().join("files"))?;
        let listen = listen
            .iter()
            .map(|addr| format!("listen {addr} backlog=4096;"));
        let settings = folder.write_settings(
            include_str!("configs/backend.conf"),
            &[
                ("user", folder.owner()?.to_owned()),
                ("listen", listen.collect::<Vec<_>>().join("\n        ")),
                ("small_body", "w".repeat(Body::Small.bytes())),
            ],
        )?;
        let mut command = pinned(LOAD_CORE, "nginx");
        command
            .args(["-e", "stderr", "-p", ".", "-c"])
            .arg(settings);
        command.current_dir(folder.path());
        Ok(Self {
            _server: folder.start(&mut command, addrs[0])?,
            addrs,
        })
    }
}

/// What a backend answers with.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// Text of 90 bytes.
    Small,
    /// A file of 64 KiB.
    Page,
    /// A file of 10 MB.
    Video,
}

impl Body {
    /// The last part of its path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Page => "page",
            Self::Video => "video",
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Self::Small => 90,
            Self::Page => 64 << 10,
            Self::Video => 10_000_000,
        }
    }
}

fn write_files(files: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(files)?;
    for body in [Body::Page, Body::Video] {
        fs::write(files.join(body.name()), vec![b'w'; body.bytes()])?;
    }
    Ok(())
}
