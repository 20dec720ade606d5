//! Parses arguments, loads the configuration, starts, and turns the end into an exit code.

use std::{
    env,
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use clap::Parser as _;
use tokio::sync::mpsc;
use weir::{
    app::App,
    backend::TestBackend,
    cli::{Cli, Command},
    config::{Config, Environment, Flags, Summary},
    control::{Loader, signals},
    demo, healthcheck, telemetry,
};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are answers, not errors.
            let code = if usage.use_stderr() {
                USAGE_OR_CONFIG
            } else {
                OK
            };
            let _closed_output = usage.print();
            return ExitCode::from(code);
        }
    };
    let environment = Environment::read(env::vars_os());
    match cli.into_command() {
        Command::Check(flags) => check(&flags, &environment),
        Command::Healthcheck(flags) => healthcheck(&flags, &environment),
        Command::Backend(backend) => run_backend(backend),
        Command::Serve(flags) => {
            let settings = environment.clone();
            let loader = Loader {
                file: Config::file(&flags, &settings),
                load: Arc::new(move || Config::load(&flags, &settings)),
            };
            serve(&environment, loader, warn_of_the_example)
        }
        Command::Demo { http_listen, flags } => run_demo(http_listen, flags, environment),
    }
}

fn check(flags: &Flags, environment: &Environment) -> ExitCode {
    for (name, nearest) in environment.unknown() {
        say(&format!(
            "warning: {name} is not a setting; did you mean {nearest}?"
        ));
    }
    match Config::load(flags, environment) {
        Ok(config) => {
            let file = Config::file(flags, environment);
            let file = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            let settings = environment.settings().join(" ");
            let _closed = writeln!(
                io::stdout(),
                "configuration is valid\n  read: {file} {settings}\n{}",
                Summary(&config)
            );
            ExitCode::from(OK)
        }
        Err(errors) => fail(USAGE_OR_CONFIG, &errors),
    }
}

fn healthcheck(flags: &Flags, environment: &Environment) -> ExitCode {
    let admin = match Config::admin_listen(flags, environment) {
        Ok(admin) => admin,
        Err(errors) => return fail(USAGE_OR_CONFIG, &errors),
    };
    match healthcheck::check(admin) {
        Ok(()) => ExitCode::from(OK),
        Err(unready) => fail(USAGE_OR_CONFIG, &format!("error: not ready: {unready}")),
    }
}

fn run_backend(backend: TestBackend) -> ExitCode {
    let listener = match backend.bind() {
        Ok(listener) => listener,
        Err(error) => return fail(USAGE_OR_CONFIG, &format!("error: {error}")),
    };
    match backend.run_alone(listener) {
        Ok(()) => ExitCode::from(OK),
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
    }
}

fn run_demo(http_listen: SocketAddr, flags: Flags, environment: Environment) -> ExitCode {
    let balancer = match demo::Balancer::start(http_listen) {
        Ok(balancer) => balancer,
        Err(error) => {
            return fail(
                INTERNAL,
                &format!("error: cannot start the demo's backends: {error}"),
            );
        }
    };
    let (flags, settings) = (demo::flags(flags, &environment), environment.clone());
    let load = move || Config::load(&flags, &settings).map(|config| balancer.added_to(config));
    let loader = Loader {
        load: Arc::new(load),
        file: None,
    };
    serve(&environment, loader, demo::show)
}

fn serve(environment: &Environment, loader: Loader, built: impl FnOnce(&App)) -> ExitCode {
    let config = match (loader.load)() {
        Ok(config) => config,
        Err(errors) => return fail(USAGE_OR_CONFIG, &errors),
    };
    let _log = telemetry::init_logging(environment.rust_log());
    for (name, nearest) in environment.unknown() {
        tracing::warn!(
            name,
            nearest,
            "this variable is not a setting; did you mean the nearest?"
        );
    }
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    if let Err(error) = signals::listen(command_sender) {
        return fail(INTERNAL, &format!("error: cannot handle signals: {error}"));
    }
    let app = match App::build(config) {
        Ok(app) => app,
        Err(error) => return fail(USAGE_OR_CONFIG, &format!("error: {error}")),
    };
    built(&app);
    match app.run(commands, loader) {
        Ok(_report) => ExitCode::from(OK),
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
    }
}

/// The Compose file's CDN is an example until the operator names one.
fn warn_of_the_example(app: &App) {
    let cdn_host = app.cdn_host().unwrap_or_default();
    if cdn_host == "cdn.example.com" {
        tracing::warn!(
            cdn_host,
            "players are sent to an example; set CDN_HOST to your CDN"
        );
    }
}

fn fail(code: u8, message: &impl std::fmt::Display) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

/// Writes a line to standard error, which may be closed.
fn say(message: &impl std::fmt::Display) {
    let _closed = writeln!(io::stderr(), "{message}");
}

const OK: u8 = 0;
/// Bad usage, configuration or address; also: not ready.
const USAGE_OR_CONFIG: u8 = 1;
/// A fault of ours (`EX_SOFTWARE` of sysexits.h).
const INTERNAL: u8 = 70;
/// Signals that wait to be looked at.
const COMMANDS_MAX: usize = 8;
