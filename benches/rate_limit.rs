//! What a limit costs: `cargo bench --bench rate_limit`.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use weir::limit::{ApiKey, BucketTable, Client, ClientTable, Quota, Rate, Room, Tick, TokenBucket};

const CLIENTS: u32 = 10_000;
const ONE: NonZeroU32 = NonZeroU32::MIN;

fn quota() -> Quota {
    let rate = Rate::per_second(1_000_000.0).expect("a rate");
    Quota::new(NonZeroU32::new(1_000).expect("not zero"), rate).expect("a quota")
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn key() -> String {
    ApiKey::generate(|below| fastrand::usize(..below))
}

/// Clients by address, of which the first has a key.
fn clients(first_key: &str) -> ClientTable {
    let client = |number: u32| Client {
        id: format!("client-{number}").into(),
        quota: quota(),
        networks: vec![address(number).into()],
        keys: match number {
            0 => ApiKey::parse(first_key)
                .iter()
                .map(ApiKey::stored)
                .collect(),
            _ => Vec::new(),
        },
    };
    ClientTable::new(
        (0..CLIENTS).map(client).collect(),
        0,
        &ClientTable::default(),
    )
}

/// A clock that goes a microsecond at each look.
fn clock() -> impl FnMut() -> Tick {
    let mut micros = 1;
    move || {
        micros += 1;
        Tick::after(Duration::from_micros(micros))
    }
}

fn registered(criterion: &mut Criterion) {
    let (key, quota) = (key(), quota());
    let table = clients(&key);
    let mut now = clock();
    let mut number = 0;
    criterion.bench_function("registered, by address", |bencher| {
        bencher.iter(|| {
            number = (number + 7_919) % CLIENTS;
            let client = table
                .find(black_box(address(number)), None)
                .expect("registered");
            client.bucket.take(&client.client.quota, ONE, now())
        });
    });
    criterion.bench_function("registered, by key", |bencher| {
        bencher.iter(|| {
            let key = black_box(key.as_bytes());
            let client = table
                .find(address(CLIENTS + 1), Some(key))
                .expect("registered");
            client.bucket.take(&quota, ONE, now())
        });
    });
}

fn unregistered(criterion: &mut Criterion) {
    let (quota, overflow, mut now) = (quota(), TokenBucket::default(), clock());
    let table = BucketTable::new(NonZeroU32::new(1_000_000).expect("not zero"));
    let mut hash = 1_u64;
    // As a keyed hash of addresses gives them.
    let mut next = move |clients: u64| {
        hash = hash.wrapping_add(1) % clients;
        (hash + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    criterion.bench_function("not registered, 10,000 clients", |bencher| {
        bencher.iter(|| table.take(next(10_000), &quota, ONE, now(), &overflow));
    });
    criterion.bench_function("not registered, 1,000,000 clients", |bencher| {
        bencher.iter(|| table.take(next(1_000_000), &quota, ONE, now(), &overflow));
    });
}

/// Every place is taken by clients whose buckets are not full, and another one comes each time.
fn full_table(criterion: &mut Criterion) {
    let slow = Rate::per_second(0.001).expect("a rate");
    let quota = Quota::new(NonZeroU32::new(1_000).expect("not zero"), slow).expect("a quota");
    let (overflow, now) = (TokenBucket::default(), Tick::after(Duration::from_secs(1)));
    let table = BucketTable::new(NonZeroU32::new(100_000).expect("not zero"));
    let mut client = 0_u64;
    let mut take = || {
        client += 1;
        let key = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        table.take(key, &quota, ONE, now, &overflow).0
    };
    while (0..1_000).any(|_| take() == Room::Own) {}
    criterion.bench_function("not registered, full table", |bencher| {
        bencher.iter(&mut take)
    });
}

criterion_group!(benches, registered, unregistered, full_table);
criterion_main!(benches);
