//! The script that keeps shared buckets, in a real server.

use std::time::Duration;

use redis::AsyncCommands as _;
use weir::{
    config::{OnFailure, RedisUrl},
    fleet::{Report, SharedBuckets},
};

use crate::support::Redis;

async fn connect(redis: &Redis) -> SharedBuckets {
    let redis = weir::config::Redis {
        url: RedisUrl::parse(&redis.url()).unwrap(),
        prefix: "weir".to_owned(),
        on_failure: OnFailure::Local,
    };
    SharedBuckets::connect(&redis, None).await.unwrap()
}

fn report(used: u64) -> Report {
    Report {
        bucket: "b".to_owned(),
        used: Duration::from_secs(used),
        known: Duration::ZERO,
        most: HOUR,
    }
}

/// One bucket's answer, in seconds. Times are so long that those of the test do not matter.
async fn missing(buckets: &mut SharedBuckets, report: Report) -> u64 {
    let answer = buckets.report(&[report]).await.unwrap();
    answer[0].as_secs_f64().round() as u64
}

#[tokio::test]
async fn what_is_taken_adds_up_to_a_bound_and_comes_back() {
    let Some(redis) = Redis::start("what_is_taken_adds_up_to_a_bound_and_comes_back").await else {
        return;
    };
    let mut buckets = connect(&redis).await;
    assert_eq!(missing(&mut buckets, report(100)).await, 100);
    assert_eq!(missing(&mut buckets, report(50)).await, 150);
    assert_eq!(missing(&mut buckets, report(0)).await, 150);
    assert_eq!(missing(&mut buckets, report(5_000)).await, 3_600);
    // As if half an hour had passed.
    let mut connection = redis.connect().await;
    let kept: String = connection.get(KEY).await.unwrap();
    let (at, was) = kept.split_once(' ').unwrap();
    let at = at.parse::<u64>().unwrap() - 1_800_000_000;
    let () = connection.set(KEY, format!("{at} {was}")).await.unwrap();
    assert_eq!(missing(&mut buckets, report(0)).await, 1_800);
    // Kept for as long as something is missing.
    let expiry: i64 = connection.pttl(KEY).await.unwrap();
    assert!((1_790_000..=1_801_000).contains(&expiry), "{expiry}");
}

#[tokio::test]
async fn a_clock_that_goes_back_brings_nothing_and_takes_nothing() {
    let test = "a_clock_that_goes_back_brings_nothing_and_takes_nothing";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let mut buckets = connect(&redis).await;
    let mut connection = redis.connect().await;
    let () = connection
        .set(KEY, "9000000000000000 60000000.000")
        .await
        .unwrap();
    assert_eq!(missing(&mut buckets, report(1)).await, 61);
}

#[tokio::test]
async fn what_a_process_knows_counts_where_the_server_does_not() {
    let test = "what_a_process_knows_counts_where_the_server_does_not";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let mut buckets = connect(&redis).await;
    let known = |seconds| Report {
        known: Duration::from_secs(seconds),
        ..report(1)
    };
    assert_eq!(missing(&mut buckets, known(30)).await, 31);
    assert_eq!(missing(&mut buckets, known(900)).await, 32);
    let mut connection = redis.connect().await;
    let () = connection.set(KEY, "written by hand").await.unwrap();
    assert_eq!(missing(&mut buckets, known(7)).await, 8);
}

#[tokio::test]
async fn many_buckets_are_told_apart() {
    let Some(redis) = Redis::start("many_buckets_are_told_apart").await else {
        return;
    };
    let mut buckets = connect(&redis).await;
    let reports: Vec<Report> = (1..=256)
        .map(|used| Report {
            bucket: format!("b{used}"),
            ..report(used)
        })
        .collect();
    let answers = buckets.report(&reports).await.unwrap();
    for (answer, report) in answers.iter().zip(&reports) {
        assert!(answer.abs_diff(report.used) < Duration::from_secs(1));
    }
    assert!(buckets.report(&[]).await.unwrap().is_empty());
}

const KEY: &str = "{weir}:b";
const HOUR: Duration = Duration::from_secs(3_600);
