//! Settings from the command line and the environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Flags that every command which needs a configuration takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file (YAML). Environment: CONFIG_PATH
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the CDN is, as `[SCHEME://]HOST[:PORT][/PREFIX]`. Environment: CDN_HOST
    #[arg(long, value_name = "HOST")]
    pub cdn_host: Option<String>,
    /// Address of the redirect service [default: 0.0.0.0:50051]. Environment: WEIR_REDIRECT_LISTEN
    #[arg(long, value_name = "ADDRESS")]
    pub redirect_listen: Option<String>,
    /// Address of the admin listener [default: 127.0.0.1:8404]. Environment: WEIR_ADMIN_LISTEN
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Data-plane threads [default: the usable cores]. Environment: WEIR_WORKERS
    #[arg(long, value_name = "NUMBER")]
    pub workers: Option<String>,
}

impl Flags {
    /// These flags, and others where one is not given.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            config: self.config.or(others.config),
            cdn_host: self.cdn_host.or(others.cdn_host),
            redirect_listen: self.redirect_listen.or(others.redirect_listen),
            admin_listen: self.admin_listen.or(others.admin_listen),
            workers: self.workers.or(others.workers),
        }
    }
}

/// The environment variables that are settings. An empty one counts as not set, as Compose
/// files and shells make such variables easily.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Variables,
    /// Need not be UTF-8.
    config_path: Option<PathBuf>,
    unknown: Vec<(String, &'static str)>,
}

/// One flat struct, because that is all that `envy` reads well. The crate has had no release
/// since 2021; this is its only call.
#[derive(Clone, Debug, Default, Deserialize)]
struct Variables {
    rust_log: Option<String>,
    cdn_host: Option<String>,
    weir_redirect_listen: Option<String>,
    weir_admin_listen: Option<String>,
    weir_workers: Option<String>,
}

impl Environment {
    /// Picks the settings out of a process environment. Values that are not UTF-8 are ignored, but
    /// for the file's path.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let variables: Vec<(OsString, OsString)> = variables.into_iter().collect();
        let config_path = variables
            .iter()
            .find(|(name, value)| name == CONFIG_PATH && !value.is_empty())
            .map(|(_, value)| value.into());
        let texts: Vec<(String, String)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let unknown = texts
            .iter()
            .filter_map(|(name, _)| Some((name.clone(), nearest_setting(name)?)))
            .collect();
        // The exact names only, as envy ignores case. Then every field is an optional text that
        // is given at most once, and nothing can fail.
        let settings = texts
            .into_iter()
            .filter(|(name, _)| SETTINGS.contains(&name.as_str()));
        let variables = envy::from_iter(settings).unwrap_or_default();
        Self {
            variables,
            config_path,
            unknown,
        }
    }

    /// Variables that look like misspelled settings, each with the nearest setting.
    pub fn unknown(&self) -> &[(String, &'static str)] {
        &self.unknown
    }

    /// The names of the variables that count.
    pub fn settings(&self) -> Vec<&'static str> {
        let Variables {
            rust_log,
            cdn_host,
            weir_redirect_listen,
            weir_admin_listen,
            weir_workers,
        } = &self.variables;
        let path = self.config_path.as_ref().map(|_path| CONFIG_PATH);
        let named = [
            ("CDN_HOST", cdn_host),
            ("RUST_LOG", rust_log),
            ("WEIR_REDIRECT_LISTEN", weir_redirect_listen),
            ("WEIR_ADMIN_LISTEN", weir_admin_listen),
            ("WEIR_WORKERS", weir_workers),
        ];
        let given = named.into_iter().filter(|(_, value)| value.is_some());
        path.into_iter()
            .chain(given.map(|(name, _)| name))
            .collect()
    }

    /// The filter of the event log; empty if there is none.
    pub fn rust_log(&self) -> &str {
        self.variables.rust_log.as_deref().unwrap_or_default()
    }

    pub(super) fn config_path(&self) -> Option<&Path> {
        self.config_path.as_deref()
    }
}

/// The nearest setting to a variable that is none. Kubernetes sets `WEIR_SERVICE_HOST`,
/// `WEIR_PORT` and the like for a Service named `weir`, so only near misses count.
fn nearest_setting(name: &str) -> Option<&'static str> {
    if SETTINGS.contains(&name) || !name.starts_with("WEIR") {
        return None;
    }
    SETTINGS
        .into_iter()
        .find(|setting| strsim::damerau_levenshtein(name, setting) <= 2)
}

const CONFIG_PATH: &str = "CONFIG_PATH";
const SETTINGS: [&str; 6] = [
    "CDN_HOST",
    CONFIG_PATH,
    "RUST_LOG",
    "WEIR_REDIRECT_LISTEN",
    "WEIR_ADMIN_LISTEN",
    "WEIR_WORKERS",
];

/// A setting given outside the file: its name as the operator writes it, and its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Override<'a> {
    pub(super) name: &'static str,
    pub(super) text: &'a str,
}

/// All settings given outside the file; flags win over the environment.
#[derive(Debug)]
pub(super) struct Overrides<'a> {
    pub(super) cdn_host: Option<Override<'a>>,
    pub(super) redirect_listen: Option<Override<'a>>,
    pub(super) admin_listen: Option<Override<'a>>,
    pub(super) workers: Option<Override<'a>>,
}

impl<'a> Overrides<'a> {
    pub(super) fn new(flags: &'a Flags, environment: &'a Environment) -> Self {
        let Variables {
            rust_log: _,
            cdn_host,
            weir_redirect_listen,
            weir_admin_listen,
            weir_workers,
        } = &environment.variables;
        Self {
            cdn_host: first(("--cdn-host", &flags.cdn_host), ("CDN_HOST", cdn_host)),
            redirect_listen: first(
                ("--redirect-listen", &flags.redirect_listen),
                ("WEIR_REDIRECT_LISTEN", weir_redirect_listen),
            ),
            admin_listen: first(
                ("--admin-listen", &flags.admin_listen),
                ("WEIR_ADMIN_LISTEN", weir_admin_listen),
            ),
            workers: first(
                ("--workers", &flags.workers),
                ("WEIR_WORKERS", weir_workers),
            ),
        }
    }
}

type Named<'a> = (&'static str, &'a Option<String>);

fn first<'a>(flag: Named<'a>, variable: Named<'a>) -> Option<Override<'a>> {
    [flag, variable].into_iter().find_map(|(name, text)| {
        Some(Override {
            name,
            text: text.as_deref()?,
        })
    })
}
