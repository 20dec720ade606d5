//! `weir demo`: what Weir does, shown on itself by real calls.

use std::{net::SocketAddr, thread};

use http::header;
use tokio::runtime;

use crate::{
    config::{Config, Environment, Flags},
    healthcheck::{Unready, get, reachable},
};

/// The demo's flags: a CDN, if nothing else names one.
pub fn flags(flags: Flags, environment: &Environment) -> Flags {
    if Config::load(&flags, environment).is_ok() {
        return flags;
    }
    let cdn_host = flags
        .cdn_host
        .or_else(|| Some("cdn.example.com".to_owned()));
    Flags { cdn_host, ..flags }
}

/// Makes ten calls to the redirect service from a thread of its own, and prints their answers
/// and commands to try.
pub fn show(redirect: SocketAddr, admin: SocketAddr) {
    let (redirect, admin) = (reachable(redirect), reachable(admin));
    // The listeners are bound, so the calls wait for the workers in the kernel's queue.
    thread::spawn(move || match ask(redirect) {
        Ok(answers) => print!("{}", text(redirect, admin, &answers)),
        Err(error) => eprintln!("the demo's own calls failed: {error}"),
    });
}

fn ask(redirect: SocketAddr) -> Result<Vec<String>, Unready> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let path = format!("/redirect?video={VIDEO}");
    runtime.block_on(async {
        let mut answers = Vec::new();
        for _ in 0..10 {
            let response = get(redirect, &path).await?;
            let location = response.headers().get(header::LOCATION);
            let location =
                location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            answers.push(location.unwrap_or_else(|| response.status().to_string()));
        }
        Ok(answers)
    })
}

fn text(redirect: SocketAddr, admin: SocketAddr, answers: &[String]) -> String {
    let calls: String = answers
        .iter()
        .zip(1..)
        .map(|(answer, turn)| format!("  {turn:>2}  {answer}\n"))
        .collect();
    format!(
        "\nWeir is running. Ten players asked where to fetch\n  {VIDEO}\nand were sent to\n\n{calls}\n\
         Ask it yourself:\n\n  \
         curl -i 'http://{redirect}/redirect?video={VIDEO}'\n  \
         grpcurl -plaintext -d '{{\"video\":\"{VIDEO}\"}}' {redirect} loadBalancer.loadBalancer/Redirect\n  \
         curl http://{admin}/metrics\n\nCtrl-C stops it.\n\n"
    )
}

const VIDEO: &str = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8";
