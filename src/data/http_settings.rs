//! How hyper is set up for client connections.

use hyper::server::conn::{http1, http2};

use crate::data::{WorkerContext, executor::LocalExecutor};

/// HTTP/1.1, without a timer: `drive` holds the limits.
pub(super) fn http1_settings(worker: &WorkerContext) -> http1::Builder {
    let head_bytes_max = worker.connections.head_limit as usize;
    let mut settings = http1::Builder::new();
    settings
        .max_header_size(head_bytes_max)
        .max_buf_size(head_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .header_read_timeout(None);
    settings
}

/// HTTP/2, with bounds on everything that a client can make us hold or do.
pub(super) fn http2_settings(worker: &WorkerContext) -> http2::Builder<LocalExecutor> {
    let mut settings = http2::Builder::new(LocalExecutor);
    settings
        .max_concurrent_streams(worker.connections.streams_limit.get())
        // Against floods of resets, the client's (CVE-2023-44487) and those that a client makes
        // us send (CVE-2025-8671).
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .max_header_list_size(worker.connections.head_limit)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    settings
}

/// hyper reads bodies in parts of up to this.
const HTTP1_BUFFER_BYTES_MIN: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 1024;
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// A message of the longest size and its prefix fit, and no more need be buffered.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024 + 16;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
