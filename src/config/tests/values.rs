//! Values in all their spellings.

use super::load_file;

#[test]
fn what_is_none_by_default_can_be_written() {
    for none in ["none", "~", ""] {
        let keys = format!(
            "connections: {{ per_client_limit: {none} }}\nport: 1\nbackends: [http://a]\n\
             upstreams: {{ b: {{ backends: [http://a], total_timeout: {none}, max_requests: {none} }} }}\n"
        );
        let config = load_file(&keys).unwrap();
        assert_eq!(config.connections.per_client_limit, None);
        assert_eq!(config.upstreams[0].total_timeout, None);
        assert_eq!(config.upstreams[0].max_requests, None);
    }
}

#[test]
fn all_of_yamls_booleans_are_read() {
    for (text, expected) in [
        ("on", true),
        ("Yes", true),
        ("TRUE", true),
        ("off", false),
        ("no", false),
    ] {
        let yaml =
            format!("redirect: {{ cdn_host: a }}\nwatch: {text}\naccess_log: {{ format: off }}\n");
        let config = load_file(&yaml).unwrap();
        assert_eq!(config.watch, expected, "{text}");
        assert_eq!(config.access_log, None);
    }
}
