//! Takes over a new configuration without a restart.

use std::sync::Arc;

use crate::{
    config::{Config, Redirect},
    control::Loader,
    state::{Shared, Snapshot},
};

/// Loads the configuration again and publishes it. A bad one is refused with its reason and
/// changes nothing, as is one that changes what only a restart can.
pub(super) fn reload(running: &mut Config, loader: &Loader, shared: &Shared) {
    let loaded = match loader() {
        Ok(config) => config,
        Err(errors) => {
            shared.reloads.refused();
            tracing::error!(%errors, "reload refused; the old configuration keeps serving");
            return;
        }
    };
    let fixed = changed_but_fixed(running, &loaded);
    if !fixed.is_empty() {
        shared.reloads.refused();
        let keys = fixed.join(", ");
        tracing::error!(
            keys,
            "reload refused: these need a restart; the old configuration keeps serving"
        );
        return;
    }
    // Upstreams are as they were, so their health, positions and counts stay.
    let current = shared.snapshot.load_full();
    shared.snapshot.publish(Snapshot {
        upstreams: Arc::clone(&current.upstreams),
        ..Snapshot::new(&loaded)
    });
    shared.reloads.succeeded();
    *running = loaded;
    tracing::info!("configuration reloaded");
}

/// The keys that differ although they are fixed for the life of the process.
fn changed_but_fixed(running: &Config, loaded: &Config) -> Vec<&'static str> {
    let listen = |config: &Config| config.redirect.as_ref().map(|redirect| redirect.listen);
    let reflection = |redirect: &Redirect| redirect.reflection;
    let differs = [
        ("redirect.listen", listen(running) != listen(loaded)),
        (
            "redirect.reflection",
            running.redirect.as_ref().map(reflection) != loaded.redirect.as_ref().map(reflection),
        ),
        ("http", running.http != loaded.http),
        ("upstreams", running.upstreams != loaded.upstreams),
        ("admin", running.admin != loaded.admin),
        ("connections", running.connections != loaded.connections),
        ("drain", running.drain != loaded.drain),
        ("workers", running.workers != loaded.workers),
    ];
    differs
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}
