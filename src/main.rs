//! Parses arguments, loads the configuration, starts, and turns the end into an exit code.

use std::{env, process::ExitCode};

use clap::Parser as _;
use tokio::sync::mpsc;
use weir::{
    app::App,
    cli::{Cli, Command},
    config::{Config, Environment, Flags},
    control::signals,
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
    let command = cli.command.unwrap_or_default();
    match command {
        Command::Check => check(&cli.flags, &environment),
        Command::Healthcheck => healthcheck(&cli.flags, &environment),
        Command::Serve => serve(command, cli.flags, environment),
        Command::Demo => serve(command, demo::flags(cli.flags, &environment), environment),
    }
}

fn check(flags: &Flags, environment: &Environment) -> ExitCode {
    for (name, nearest) in environment.unknown() {
        eprintln!("warning: {name} is not a setting; did you mean {nearest}?");
    }
    match Config::load(flags, environment) {
        Ok(_valid) => {
            println!("configuration is valid");
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

fn serve(command: Command, flags: Flags, environment: Environment) -> ExitCode {
    let config = match Config::load(&flags, &environment) {
        Ok(config) => config,
        Err(errors) => return fail(USAGE_OR_CONFIG, &errors),
    };
    telemetry::init_logging();
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
    if let (Command::Demo, Some(redirect), Some(admin)) =
        (command, app.redirect_addr(), app.admin_addr())
    {
        demo::show(redirect, admin);
    }
    match app.run(
        commands,
        Box::new(move || Config::load(&flags, &environment)),
    ) {
        Ok(_report) => ExitCode::from(OK),
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
    }
}

fn fail(code: u8, message: &impl std::fmt::Display) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}

const OK: u8 = 0;
/// Bad usage, configuration or address; also: not ready.
const USAGE_OR_CONFIG: u8 = 1;
/// A fault of ours (`EX_SOFTWARE` of sysexits.h).
const INTERNAL: u8 = 70;
/// Signals that wait to be looked at.
const COMMANDS_MAX: usize = 8;
