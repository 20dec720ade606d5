//! Replaces the running configuration by what is on disk now.

use std::num::NonZeroUsize;

use crate::{
    config::Config,
    control::{
        Loader,
        listeners::{Bound, Listeners, listener_specs},
        upstreams::Upstreams,
    },
    net::BindError,
    state::{Shared, Snapshot},
};

/// Reads the configuration anew and publishes it, or says why the old one goes on. Whatever stays
/// the same keeps running as it is; a change that needs a restart is refused rather than half done.
pub(super) fn reload(
    running: &mut Config,
    loader: &Loader,
    shared: &Shared,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
) {
    let loaded = match (loader.load)() {
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
    if let Err(error) = publish(&loaded, shared, listeners, upstreams) {
        shared.reloads.refused();
        tracing::error!(%error, "reload refused; the old configuration keeps serving");
        return;
    }
    shared.reloads.succeeded();
    *running = loaded;
    let upstreams = &running.upstreams;
    let backends = upstreams.iter().map(|upstream| upstream.backends.len());
    tracing::info!(
        listeners = running.http.len(),
        upstreams = upstreams.len(),
        backends = backends.sum::<usize>(),
        "configuration reloaded"
    );
}

/// As [`reload`], but says nothing when nothing differs.
pub(super) fn reload_if_changed(
    running: &mut Config,
    loader: &Loader,
    shared: &Shared,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
) {
    let is_same = (loader.load)().is_ok_and(|loaded| loaded == *running);
    if !is_same {
        reload(running, loader, shared, listeners, upstreams);
    }
}

/// Binds what is new, then publishes everything at once, then accepts.
fn publish(
    config: &Config,
    shared: &Shared,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
) -> Result<(), BindError> {
    let workers = NonZeroUsize::new(shared.workers().len()).unwrap_or(NonZeroUsize::MIN);
    let specs = listener_specs(config);
    let bound = Bound::new(&specs, &listeners.are_open(&specs), workers)?;
    begin(config, listeners, upstreams, bound);
    Ok(())
}

/// Publishes a configuration whose new listeners are bound.
pub(super) fn begin(
    config: &Config,
    listeners: &mut Listeners,
    upstreams: &mut Upstreams,
    bound: Bound,
) {
    let specs = listener_specs(config);
    let settings = listeners.settings(&specs, &config.http);
    let configured = upstreams.configured(&config.upstreams);
    upstreams.publish_configured(Snapshot::new(config, settings, configured));
    listeners.open(bound, &specs);
}

/// The keys that differ although they are fixed for the life of the process.
fn changed_but_fixed(running: &Config, loaded: &Config) -> Vec<&'static str> {
    let differs = [
        (
            "redirect.reflection",
            running.reflection() != loaded.reflection(),
        ),
        ("admin", running.admin != loaded.admin),
        ("connections", running.connections != loaded.connections),
        ("access_log", running.access_log != loaded.access_log),
        ("watch", running.watch != loaded.watch),
        ("workers", running.workers != loaded.workers),
    ];
    differs
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}
