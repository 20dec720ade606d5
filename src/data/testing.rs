//! One worker without sockets, for tests of what happens on its connections.

use std::{fs, rc::Rc, sync::Arc};

use futures_util::FutureExt as _;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time::Instant,
};

use crate::{
    config::{Config, Environment, Flags},
    data::{
        context::WorkerContext,
        redirect::{Engine, GrpcRoutes, health_service},
        service::Services,
        upstream::Http1Upstream,
    },
    net::Transport,
    shutdown::Phase,
    state::{
        Backend, HttpSettings, ListenerSettings, Member, OpenFiles, RateLimits, Shared, Snapshot,
        Upstream, WHOLE_SHARE,
    },
};

/// A balancer before one backend, which is the other end of a kept connection.
pub(in crate::data) fn balancer(upstream: &str) -> (Rc<Services>, DuplexStream) {
    let services = services(&format!(
        "http:\n  - listen: 127.0.0.1:1\n    routes: [{{ path: /, upstream: app }}]\n\
         upstreams:\n  app:\n    backends: [\"http://127.0.0.1:2\"]\n{upstream}"
    ));
    let shared = &services.worker().shared;
    let snapshot = shared.snapshot.load_full();
    let upstreams = snapshot.upstreams.iter().map(|upstream| {
        let configured = &upstream.settings.backends[0];
        let addr = "127.0.0.1:2".parse().unwrap();
        let queue = Arc::clone(&upstream.queue);
        let member = Member {
            backend: Arc::new(Backend::new(0, configured.addr.clone(), addr, queue)),
            weight: configured.weight,
            admin_state: configured.admin_state,
            is_backup: configured.is_backup,
        };
        let upstream = upstream.with_members(vec![member]);
        upstream.with_available(|_| Some(WHOLE_SHARE))
    });
    shared.snapshot.publish(Snapshot {
        upstreams: upstreams.collect(),
        ..(*snapshot).clone()
    });
    let (backend, kept) = duplex(64 * 1024);
    let pool = services.pool();
    let file = pool.file().unwrap();
    let kept = Box::new(Http1Upstream::new(Transport::Memory(kept), file));
    pool.put(0, kept, Instant::now());
    (services, backend)
}

/// The services of a worker that runs a configuration. Its upstreams have no members.
pub(in crate::data) fn services(yaml: &str) -> Rc<Services> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("weir.yaml");
    fs::write(&file, yaml).unwrap();
    let flags = Flags {
        config: Some(file),
        ..Flags::default()
    };
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let rate_limits = RateLimits::new(config.rate_limits.clients_max);
    let http = config.http.iter().zip(0..);
    let http = http.map(|(http, id)| HttpSettings::new(id, http, &rate_limits));
    let upstreams = config.upstreams.iter().zip(0..);
    let upstreams = upstreams.map(|(upstream, id)| Upstream::new(id, upstream.clone().into(), 1));
    let listeners = ListenerSettings {
        http: http.collect(),
        ..Default::default()
    };
    let snapshot = Snapshot::new(&config, &rate_limits, listeners, upstreams.collect());
    let shared = Shared::new(snapshot, rate_limits, 1, None, OpenFiles::within(1024));
    let (alive, _unused) = mpsc::channel(1);
    let engine = Engine::new(Arc::clone(&shared), 0);
    let health = health_service()
        .now_or_never()
        .expect("it waits for nothing");
    let routes = GrpcRoutes::new(engine, health.1);
    let context = WorkerContext::new(0, shared, Phase::Running, alive);
    Rc::new(Services::new(&Rc::new(context), routes))
}
