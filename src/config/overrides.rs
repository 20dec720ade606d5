//! Settings from the command line and the environment.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::config::small_file;

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

    fn get(&self, setting: Setting) -> Option<&str> {
        match setting {
            Setting::CdnHost => self.cdn_host.as_deref(),
            Setting::RedirectListen => self.redirect_listen.as_deref(),
            Setting::AdminListen => self.admin_listen.as_deref(),
            Setting::Workers => self.workers.as_deref(),
            Setting::AdminToken
            | Setting::AdminTokenFile
            | Setting::Database
            | Setting::Redis
            | Setting::LogFormat
            | Setting::LogLevel => None,
        }
    }
}

/// A key of the file that can also be given outside of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Setting {
    CdnHost,
    RedirectListen,
    AdminListen,
    AdminToken,
    AdminTokenFile,
    Workers,
    Database,
    Redis,
    LogFormat,
    LogLevel,
}

impl Setting {
    const ALL: [Self; 10] = [
        Self::CdnHost,
        Self::RedirectListen,
        Self::AdminListen,
        Self::AdminToken,
        Self::AdminTokenFile,
        Self::Workers,
        Self::Database,
        Self::Redis,
        Self::LogFormat,
        Self::LogLevel,
    ];

    /// The flag.
    pub(super) fn flag(self) -> Option<&'static str> {
        match self {
            Self::CdnHost => Some("--cdn-host"),
            Self::RedirectListen => Some("--redirect-listen"),
            Self::AdminListen => Some("--admin-listen"),
            Self::Workers => Some("--workers"),
            Self::AdminToken
            | Self::AdminTokenFile
            | Self::Database
            | Self::Redis
            | Self::LogFormat
            | Self::LogLevel => None,
        }
    }

    /// The environment variable.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::CdnHost => "CDN_HOST",
            Self::RedirectListen => "WEIR_REDIRECT_LISTEN",
            Self::AdminListen => "WEIR_ADMIN_LISTEN",
            Self::AdminToken => "WEIR_ADMIN_TOKEN",
            Self::AdminTokenFile => "WEIR_ADMIN_TOKEN_FILE",
            Self::Workers => "WEIR_WORKERS",
            Self::Database => "DATABASE_URL",
            Self::Redis => "REDIS_URL",
            Self::LogFormat => "WEIR_LOG_FORMAT",
            Self::LogLevel => "RUST_LOG",
        }
    }
}

/// The process environment. An empty variable counts as not set, as Compose files and shells make
/// such variables easily. Values that are not UTF-8 are ignored, but for the file's path.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    config_path: Option<PathBuf>,
}

impl Environment {
    /// Reads a process environment.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables.into_iter().filter(|(_, value)| !value.is_empty()) {
            if name == CONFIG_PATH {
                environment.config_path = Some((&value).into());
            }
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                environment.variables.insert(name, value);
            }
        }
        environment
    }

    /// The names of the variables that are settings.
    pub fn settings(&self) -> Vec<&'static str> {
        let path = self.config_path.as_ref().map(|_path| CONFIG_PATH);
        let given = Setting::ALL.map(Setting::variable).into_iter();
        let given = given.filter(|name| self.variable(name).is_some());
        path.into_iter().chain(given).collect()
    }

    /// The admin API's token, for commands that make changes: the variable, or the content of the file
    /// that another one names.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn admin_token(&self) -> Result<Option<String>, std::io::Error> {
        if let Some(token) = self.variable(Setting::AdminToken.variable()) {
            return Ok(Some(token.to_owned()));
        }
        let Some(file) = self.variable(Setting::AdminTokenFile.variable()) else {
            return Ok(None);
        };
        let content = small_file::read(file)?;
        Ok(Some(String::from_utf8_lossy(&content).trim().to_owned()))
    }

    /// A variable.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(super) fn config_path(&self) -> Option<&Path> {
        self.config_path.as_deref()
    }

    /// Variables that begin like a setting and are none, each with the nearest setting.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let names = self.variables.keys().map(String::as_str);
        names.filter_map(|name| Some((name, nearest_setting(name)?)))
    }
}

/// The nearest setting to a variable that is none, if it is meant for this program.
fn nearest_setting(name: &str) -> Option<&'static str> {
    let is_setting = |setting: Setting| setting.variable() == name;
    // Kubernetes and Docker set these for a Service or a link named `weir`.
    let is_of_a_service = name.starts_with("WEIR_SERVICE_") || name.starts_with("WEIR_PORT");
    let is_meant = name.starts_with(PREFIX) && !is_of_a_service;
    if !is_meant || Setting::ALL.into_iter().any(is_setting) {
        return None;
    }
    let names = Setting::ALL.map(Setting::variable).into_iter();
    let names = names.filter(|setting| setting.starts_with(PREFIX));
    names.min_by_key(|setting| strsim::damerau_levenshtein(name, setting))
}

const CONFIG_PATH: &str = "CONFIG_PATH";
const PREFIX: &str = "WEIR_";

/// A setting given outside the file: its name as the operator writes it, and its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Override<'a> {
    pub(super) name: &'static str,
    pub(super) text: &'a str,
}

/// All settings given outside the file; flags win over the environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overrides<'a> {
    pub(super) flags: &'a Flags,
    pub(super) environment: &'a Environment,
}

impl<'a> Overrides<'a> {
    /// What is given for a key of the file.
    pub(super) fn get(self, setting: Setting) -> Option<Override<'a>> {
        let named = |name, text| Some(Override { name, text });
        let flag = self.flags.get(setting);
        let variable = self.environment.variable(setting.variable());
        flag.and_then(|text| named(setting.flag()?, text))
            .or_else(|| named(setting.variable(), variable?))
    }
}
