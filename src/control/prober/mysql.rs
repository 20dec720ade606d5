//! Asks a server of MySQL or MariaDB whether it takes connections.
//!
//! A server counts connections that end before a login, and after a hundred of them without one that
//! logs in it refuses the host (`max_connect_errors`). So a check should have a user. Nothing here knows
//! passwords, so that user has none.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{config::MysqlProbe, control::prober::ProbeFailure, net::Transport};

/// Reads the greeting, and logs in if there is a user.
///
/// # Errors
///
/// When the server refuses, or speaks another protocol.
pub(super) async fn ask(mut server: Transport, probe: &MysqlProbe) -> Result<(), ProbeFailure> {
    let greeting = Packet::read(&mut server).await?.accepted()?;
    if greeting.payload.first() != Some(&PROTOCOL) {
        return Err(ProbeFailure::Malformed);
    }
    let Some(user) = &probe.user else {
        return Ok(());
    };
    write(&mut server, greeting.number, &login(user)).await?;
    let mut answer = Packet::read(&mut server).await?.accepted()?;
    if answer.payload.first() == Some(&OTHER_METHOD) {
        // Without a password, every method of authentication is content with nothing.
        write(&mut server, answer.number, &[]).await?;
        answer = Packet::read(&mut server).await?.accepted()?;
    }
    if answer.payload.first() != Some(&OK) {
        return Err(ProbeFailure::Malformed);
    }
    // The first command of a session has the number 0.
    write(&mut server, u8::MAX, &[QUIT]).await?;
    let _gone_already = server.shutdown().await;
    Ok(())
}

/// What the server sends at a time (MySQL client/server protocol, packets).
struct Packet {
    number: u8,
    payload: Vec<u8>,
}

impl Packet {
    async fn read(server: &mut Transport) -> Result<Self, ProbeFailure> {
        let length = server.read_u16_le().await?;
        // Of three bytes; no packet here is as long as that.
        if server.read_u8().await? != 0 || usize::from(length) > PACKET_BYTES_MAX {
            return Err(ProbeFailure::Malformed);
        }
        let number = server.read_u8().await?;
        let mut payload = vec![0; usize::from(length)];
        server.read_exact(&mut payload).await?;
        Ok(Self { number, payload })
    }

    /// The same packet, if it is no error: its code, a state of five letters after a `#`, and a text.
    fn accepted(self) -> Result<Self, ProbeFailure> {
        let Some((&ERROR, error)) = self.payload.split_first() else {
            return Ok(self);
        };
        let text = error.get(2..).unwrap_or_default();
        let text = match text.strip_prefix(b"#") {
            Some(text) => text.get(5..).unwrap_or_default(),
            None => text,
        };
        let text = String::from_utf8_lossy(text).into_owned();
        Err(ProbeFailure::Refused(text))
    }
}

/// Sends a packet that follows one of this number.
async fn write(server: &mut Transport, after: u8, payload: &[u8]) -> Result<(), ProbeFailure> {
    let length = u16::try_from(payload.len()).map_err(|_source| ProbeFailure::Malformed)?;
    let mut packet = Vec::with_capacity(payload.len() + 4);
    packet.extend(length.to_le_bytes());
    packet.extend([0, after.wrapping_add(1)]);
    packet.extend(payload);
    server.write_all(&packet).await?;
    Ok(())
}

/// A login without a password (`HandshakeResponse41`).
fn login(user: &str) -> Vec<u8> {
    let mut login = Vec::with_capacity(64 + user.len());
    login.extend(CAPABILITIES.to_le_bytes());
    login.extend(PACKET_BYTES_OF_CLIENT.to_le_bytes());
    login.push(UTF8);
    login.extend([0; 23]);
    login.extend(user.as_bytes());
    // The end of the name, and an answer of no bytes.
    login.extend([0, 0]);
    login.extend(b"mysql_native_password\0");
    login
}

/// Version 10 of the protocol, which all servers since 1998 speak.
const PROTOCOL: u8 = 10;
const OK: u8 = 0;
const ERROR: u8 = 0xff;
const OTHER_METHOD: u8 = 0xfe;
const QUIT: u8 = 1;
const UTF8: u8 = 33;
/// `LONG_PASSWORD`, `PROTOCOL_41`, `SECURE_CONNECTION` and `PLUGIN_AUTH`.
const CAPABILITIES: u32 = 0x1 | 0x200 | 0x8000 | 0x8_0000;
const PACKET_BYTES_OF_CLIENT: u32 = 1 << 16;
const PACKET_BYTES_MAX: usize = 4096;
