//! Directives that have no place in a Weir file, and what to say of them.

use crate::import::{
    nginx::{rate_limits::is_client, tree::Directive},
    remark::Remarks,
};

/// Says what becomes of a directive that nothing else reads.
pub(super) fn other(directive: &Directive, remarks: &mut Remarks) {
    let (line, name) = (directive.line, directive.name.as_str());
    let value = directive.argument(0);
    let what = directive.text();
    // Read once for all listeners.
    if PROCESS_WIDE.contains(&name) {
        return;
    }
    match name {
        "include" if value.ends_with("mime.types") => {
            remarks.not_needed(line, &what, "Weir serves no files");
        }
        "include" => {
            let reason = "included files are not read; import the output of `nginx -T`, which holds them all";
            remarks.left_out(line, &what, reason);
        }
        "worker_processes" => {
            remarks.not_needed(
                line,
                &what,
                "there is a worker for each usable core; workers sets their number",
            );
        }
        "proxy_http_version" if value != "1.0" => {
            remarks.not_needed(line, &what, "Weir speaks HTTP/1.1 to backends");
        }
        "proxy_next_upstream" | "grpc_next_upstream" => {
            let is_usual = directive
                .arguments
                .iter()
                .all(|case| matches!(case.as_str(), "error" | "timeout"));
            match is_usual {
                true => remarks.not_needed(line, &what, "Weir tries other backends by itself"),
                false => remarks.nearly(
                    line,
                    &what,
                    "requests are sent again if no response came, whatever its status",
                ),
            }
        }
        "proxy_redirect" if value == "off" => {
            remarks.not_needed(line, &what, "Weir leaves Location as it is");
        }
        "limit_req_status" if value == "429" => {}
        "limit_req_status" => remarks.nearly(line, &what, "the answer is a 429"),
        "limit_conn_zone" if is_client(value) => {}
        "real_ip_header" if value.eq_ignore_ascii_case("x-forwarded-for") => {}
        "real_ip_header" => remarks.left_out(line, &what, "the header is X-Forwarded-For"),
        "real_ip_recursive" => remarks.not_needed(
            line,
            &what,
            "Weir goes on to the first address that is not trusted",
        ),
        _ => missing(directive, remarks),
    }
}

/// Those that Weir has nothing of.
fn missing(directive: &Directive, remarks: &mut Remarks) {
    let (line, what) = (directive.line, directive.text());
    match directive.name.as_str() {
        "deny"
        | "allow"
        | "auth_basic"
        | "auth_basic_user_file"
        | "auth_request"
        | "satisfy"
        | "limit_except" => {
            remarks.left_out(
                line,
                &what,
                "Weir refuses no requests but those above a rate limit: these are forwarded",
            );
        }
        "return" | "rewrite" | "try_files" | "root" | "alias" | "index" | "error_page"
        | "autoindex" | "default_type" | "types" | "expires" | "stub_status" | "internal"
        | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
            remarks.left_out(
                line,
                &what,
                "Weir's balancer serves and answers nothing itself",
            );
        }
        "if" | "map" | "geo" | "set" | "split_clients" => {
            remarks.left_out(line, &directive.head(), "Weir has no variables");
        }
        "gzip" | "brotli" | "sub_filter" => remarks.left_out(line, &what, "Weir changes no bodies"),
        "log_format" => {
            remarks.left_out(line, &directive.head(), "access_log has formats of its own")
        }
        "error_log" => remarks.left_out(line, &what, "events go to standard output"),
        _ => unnamed(directive, remarks),
    }
}

/// Those that go by their families.
fn unnamed(directive: &Directive, remarks: &mut Remarks) {
    let (line, name) = (directive.line, directive.name.as_str());
    let what = directive.text();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if NOT_NEEDED.contains(&name)
        || begins(&[
            "worker_",
            "proxy_buffer",
            "proxy_busy",
            "proxy_temp",
            "proxy_max_temp",
        ])
    {
        remarks.not_needed(line, &what, "Weir has no such switch");
    } else if begins(&["proxy_ssl_", "grpc_ssl_"]) {
        remarks.left_out(
            line,
            &what,
            "backends' certificates are always verified, as tls of the upstream says",
        );
    } else if begins(&["ssl_", "ssl"]) {
        remarks.left_out(line, &what, "Weir takes no TLS from clients yet");
    } else if begins(&[
        "proxy_cache",
        "proxy_store",
        "proxy_no_cache",
        "open_file_cache",
    ]) {
        remarks.left_out(line, &what, "Weir has no cache");
    } else if begins(&["gzip_", "brotli_", "sub_filter_"]) {
        remarks.left_out(line, &what, "Weir changes no bodies");
    } else if begins(&["fastcgi_", "uwsgi_", "scgi_"]) {
        remarks.left_out(line, &what, "Weir speaks HTTP to its backends");
    } else {
        remarks.left_out(line, &what, "Weir has no equivalent");
    }
}

/// What [`crate::import::nginx::http`] reads once for all listeners.
const PROCESS_WIDE: &[&str] = &[
    "client_header_timeout",
    "keepalive_timeout",
    "large_client_header_buffers",
    "limit_conn",
    "access_log",
];
const NOT_NEEDED: &[&str] = &[
    "user",
    "pid",
    "daemon",
    "master_process",
    "load_module",
    "pcre_jit",
    "sendfile",
    "sendfile_max_chunk",
    "tcp_nopush",
    "tcp_nodelay",
    "keepalive_requests",
    "keepalive_time",
    "keepalive_disable",
    "client_body_timeout",
    "client_body_buffer_size",
    "client_header_buffer_size",
    "client_body_temp_path",
    "send_timeout",
    "reset_timedout_connection",
    "server_tokens",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "types_hash_max_size",
    "types_hash_bucket_size",
    "variables_hash_max_size",
    "variables_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_headers_hash_bucket_size",
    "proxy_request_buffering",
    "proxy_socket_keepalive",
    "proxy_pass_header",
    "proxy_pass_request_headers",
    "proxy_pass_request_body",
    "proxy_half_close",
    "resolver",
    "resolver_timeout",
    "underscores_in_headers",
    "merge_slashes",
    "absolute_redirect",
    "port_in_redirect",
    "server_name_in_redirect",
    "thread_pool",
    "log_not_found",
    "log_subrequest",
    "http2",
    "chunked_transfer_encoding",
    "preread_timeout",
    "preread_buffer_size",
    "tcp_user_timeout",
    "uninitialized_variable_warn",
];
