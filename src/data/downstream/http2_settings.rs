//! How `h2` is set up for client connections.

use h2::server;

/// Bounds on everything that a client can make this process hold or do.
pub(super) fn settings(max_concurrent_streams: u32, max_header_size: u32) -> server::Builder {
    let mut settings = server::Builder::new();
    settings
        .max_concurrent_streams(max_concurrent_streams)
        // Against floods of resets: the client's (CVE-2023-44487), and those that a client makes
        // this side send (CVE-2025-8671).
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        // `h2` answers longer heads by itself, unseen. Those up to here are answered, counted and
        // logged by the service.
        .max_header_list_size(max_header_size.max(HEAD_BYTES_READ_MAX))
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        // All streams at once, so that uploads which stand still never stop another.
        .initial_connection_window_size(
            STREAM_WINDOW_BYTES
                .saturating_mul(max_concurrent_streams)
                .min(CONNECTION_WINDOW_BYTES_MAX),
        )
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX);
    settings
}

const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
const HEAD_BYTES_READ_MAX: u32 = 1 << 20;
/// What one upload may send before its backend takes it: the bound on its speed per round trip,
/// and on what it holds here when the backend stands still (64 MiB for 256 such streams). A
/// message of the redirect service's longest size and its prefix fit.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The largest window that there is (RFC 9113 section 6.9.1).
const CONNECTION_WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;
/// What one stream holds of a response that its client does not take; 256 streams hold 4 MiB.
const SEND_BUFFER_BYTES_MAX: usize = 16 * 1024;
