//! The redirect rule alone: reading a video URL and writing its CDN address.

use std::{hint::black_box, num::NonZeroU64};

use criterion::{Criterion, criterion_group, criterion_main};
use weir::redirect::{CdnBase, OriginClusters, RedirectPolicy};

fn redirect_rule(criterion: &mut Criterion) {
    let policy = RedirectPolicy {
        cdn: CdnBase::parse("cdn.example.com").expect("a fixed host"),
        origin_every: NonZeroU64::MIN,
        clusters: OriginClusters::new(&["origin-cluster"]).expect("a fixed cluster"),
    };
    let video = "http://s1.origin-cluster/video/123/xcg2djHckad.m3u8";
    let longest = format!("http://s1.origin-cluster/{}", "a".repeat(8_192 - 25));
    let accepted = policy.accept(video).expect("a valid video");

    criterion.bench_function("accept", |bencher| {
        bencher.iter(|| policy.accept(black_box(video)).is_ok())
    });
    criterion.bench_function("accept, 8 KiB", |bencher| {
        bencher.iter(|| policy.accept(black_box(&longest)).is_ok());
    });
    criterion.bench_function("refuse", |bencher| {
        bencher.iter(|| policy.accept(black_box("http://s1.elsewhere/x")).is_err());
    });
    criterion.bench_function("cdn_url", |bencher| {
        bencher.iter(|| policy.cdn_url(black_box(&accepted)))
    });
}

criterion_group!(benches, redirect_rule);
criterion_main!(benches);
