//! What stands behind the load balancers: an nginx with files of three sizes.

use std::{error::Error, fs, net::SocketAddr};

use crate::{
    http::work_folder::WorkFolder,
    server::{Server, free_addr},
    tools::{LOAD_CORE, pinned},
};

/// Two backends, which share the load generator's core.
#[derive(Debug)]
pub struct Backends {
    /// Ends them when it is dropped.
    _server: Server,
    pub addrs: [SocketAddr; 2],
}

impl Backends {
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let folder = WorkFolder::create("backends")?;
        let files = folder.path().join("files");
        fs::create_dir_all(&files)?;
        for body in [Body::Page, Body::Video] {
            fs::write(files.join(body.name()), vec![b'w'; body.bytes()])?;
        }
        let addrs = [free_addr()?, free_addr()?];
        let settings = folder.write_settings(
            include_str!("configs/backend.conf"),
            &[
                ("user", folder.owner()?),
                ("backend_a", &addrs[0].to_string()),
                ("backend_b", &addrs[1].to_string()),
                ("small_body", &"w".repeat(Body::Small.bytes())),
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
