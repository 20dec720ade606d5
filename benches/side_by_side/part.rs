//! What can be asked for by name.

use std::error::Error;

use crate::{
    http::{http1, http2, idle_memory, limits, scale, sessions},
    redirect,
    rounds::Pace,
    selection::RowFilter,
};

/// A table, or two that belong together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    Redirect,
    Http1,
    Http2,
    Tcp,
    Limits,
    Scale,
    Idle,
}

impl Part {
    pub const ALL: [Self; 7] = [
        Self::Redirect,
        Self::Http1,
        Self::Http2,
        Self::Tcp,
        Self::Limits,
        Self::Scale,
        Self::Idle,
    ];

    /// The parts that a word names; none if it is not the name of a part.
    pub fn named(word: &str) -> &'static [Self] {
        match word {
            "redirect" => &[Self::Redirect],
            "http" => &[Self::Http1, Self::Http2],
            "http1" => &[Self::Http1],
            "http2" => &[Self::Http2],
            "tcp" => &[Self::Tcp],
            "limits" => &[Self::Limits],
            "scale" => &[Self::Scale],
            "idle" | "memory" => &[Self::Idle],
            _ => &[],
        }
    }

    pub fn row_names(self) -> Vec<String> {
        match self {
            Self::Redirect => redirect::row_names(),
            Self::Http1 => http1::row_names(),
            Self::Http2 => http2::row_names(),
            Self::Tcp => sessions::row_names(),
            Self::Limits => limits::row_names(),
            Self::Scale => scale::row_names(),
            Self::Idle => idle_memory::row_names(),
        }
    }

    /// The programs that it runs.
    pub fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Redirect => &["taskset", "h2load"],
            Self::Http1 => &["taskset", "wrk", "nginx", "haproxy", "caddy"],
            Self::Http2 => &["taskset", "h2load", "nginx", "haproxy", "caddy"],
            Self::Tcp => &["taskset", "wrk", "nginx", "haproxy"],
            Self::Limits => &["taskset", "wrk", "nginx", "haproxy", "redis-server"],
            Self::Scale => &["taskset", "wrk", "nginx", "haproxy"],
            Self::Idle => &["taskset", "nginx", "haproxy", "caddy"],
        }
    }

    /// Measures its rows that the filter lets through, and prints them.
    pub fn run(self, pace: Pace, filter: &RowFilter) -> Result<(), Box<dyn Error>> {
        match self {
            Self::Redirect => redirect::run(pace, filter),
            Self::Http1 => http1::run(pace, filter),
            Self::Http2 => http2::run(pace, filter),
            Self::Tcp => sessions::run(pace, filter),
            Self::Limits => limits::run(pace, filter),
            Self::Scale => scale::run(pace, filter),
            Self::Idle => idle_memory::run(pace, filter),
        }
    }
}
