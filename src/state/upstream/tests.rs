use std::num::NonZeroU32;

use super::*;
use crate::{
    config::{BackendAddr, WeightedBackend},
    state::InFlight,
};

fn first(_below: usize) -> usize {
    0
}

fn upstream(change: impl FnOnce(&mut config::Upstream)) -> Upstream {
    let addr = |port| BackendAddr {
        scheme: Scheme::Http,
        host: "10.0.0.1".to_owned(),
        port,
    };
    let backends = (1..=3).map(|port| WeightedBackend::new(addr(port)));
    let mut settings = config::Upstream::new("app", backends.collect());
    change(&mut settings);
    let upstream = Upstream::new(0, Arc::new(settings), 1);
    let members = (10..)
        .zip(&upstream.settings.backends)
        .map(|(id, backend)| {
            let (name, queue) = (backend.addr.clone(), Arc::clone(&upstream.queue));
            let addr = (name.ip().unwrap(), name.port).into();
            Member {
                backend: Arc::new(Backend::new(id, name, addr, queue)),
                weight: backend.weight,
                admin_state: backend.admin_state,
                is_backup: backend.is_backup,
            }
        });
    upstream.with_members(members.collect())
}

fn whole(_member: &Member) -> Option<NonZeroU16> {
    Some(WHOLE_SHARE)
}

#[track_caller]
fn picked(upstream: &Upstream, tried: &[usize]) -> usize {
    match upstream.pick(b"", tried, first) {
        Pick::Backend(backend) => backend.id,
        other @ (Pick::Busy | Pick::NoneLeft) => panic!("{other:?}"),
    }
}

fn picks(upstream: &Upstream, count: usize) -> Vec<usize> {
    (0..count).map(|_| picked(upstream, &[])).collect()
}

#[test]
fn unavailable_and_tried_backends_are_passed_over() {
    let without_11 = |member: &Member| (member.backend.id != 11).then_some(WHOLE_SHARE);
    let upstream = upstream(|_| {}).with_available(without_11);
    assert_eq!(picks(&upstream, 4), [10, 12, 10, 12]);
    for _ in 0..4 {
        assert_eq!(picked(&upstream, &[10]), 12);
    }
    assert!(matches!(
        upstream.pick(b"", &[10, 12], first),
        Pick::NoneLeft
    ));
}

#[test]
fn with_none_available_the_operator_decides() {
    let refusing = upstream(|_| {}).with_available(|_| None);
    assert!(refusing.is_down());
    assert!(matches!(refusing.pick(b"", &[], first), Pick::NoneLeft));
    let any = upstream(|settings| {
        settings.when_all_down = WhenAllDown::Any;
        settings.backends[1].admin_state = AdminState::Draining;
    });
    assert_eq!(picks(&any.with_available(|_| None), 4), [10, 12, 10, 12]);
}

#[test]
fn a_backup_takes_over_when_no_other_is_available() {
    let upstream = upstream(|settings| settings.backends[0].is_backup = true);
    assert_eq!(picks(&upstream.with_available(whole), 4), [11, 12, 11, 12]);
    let only = |id| move |member: &Member| (member.backend.id == id).then_some(WHOLE_SHARE);
    assert_eq!(picks(&upstream.with_available(only(10)), 2), [10, 10]);
    assert_eq!(picks(&upstream.with_available(only(12)), 2), [12, 12]);
    assert!(upstream.with_available(|_| None).is_down());
}

#[test]
fn a_slow_starter_gets_tenths_of_its_weight() {
    let three_tenths = |member: &Member| match member.backend.id {
        10 => NonZeroU16::new(3),
        _ => Some(WHOLE_SHARE),
    };
    let picks = picks(&upstream(|_| {}).with_available(three_tenths), 23);
    assert_eq!(picks.iter().filter(|&&id| id == 10).count(), 3);
}

#[test]
fn turns_are_exact_under_concurrency() {
    let upstream = upstream(|_| {}).with_available(whole);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3_000 {
                    let Pick::Backend(backend) = upstream.pick(b"", &[], first) else {
                        panic!("none left");
                    };
                    backend.stats.responded();
                }
            });
        }
    });
    let members = upstream.members.iter();
    let responses: Vec<u64> = members
        .map(|member| member.backend.stats.responses())
        .collect();
    assert_eq!(responses, [4_000, 4_000, 4_000]);
}

#[test]
fn full_backends_are_passed_over_up_to_the_limit_and_no_further() {
    let limit = NonZeroU32::new(2);
    let upstream = upstream(|settings| settings.max_requests = limit).with_available(whole);
    let mut in_flight = Vec::new();
    for _ in 0..6 {
        let Pick::Backend(backend) = upstream.pick(b"", &[], first) else {
            panic!("there is room");
        };
        in_flight.push(InFlight::begin(backend, limit).unwrap());
    }
    assert!(matches!(upstream.pick(b"", &[], first), Pick::Busy));
    assert!(InFlight::begin(in_flight[0].backend(), limit).is_none());
    assert_eq!(in_flight[0].backend().stats.in_flight(), 2);
    let id = in_flight.pop().unwrap().backend().id;
    assert_eq!(picked(&upstream, &[]), id);
}

#[test]
fn new_settings_keep_the_position() {
    let old = upstream(|_| {}).with_available(whole);
    assert_eq!(picked(&old, &[]), 10);
    let new = old.with_settings(Arc::clone(&old.settings));
    let new = new.with_members(old.members.to_vec()).with_available(whole);
    assert_eq!(picked(&new, &[]), 11);
}
