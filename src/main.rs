//! Parses arguments, loads the configuration, starts, and turns the end into an exit code.

use std::{
    env,
    fmt::Display,
    fs::File,
    io::{self, Read, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use clap::{CommandFactory as _, Parser as _};
use clap_complete::Shell;
use tokio::sync::mpsc;
use weir::{
    admin_client,
    api_commands::{Api, ApiError},
    app::App,
    backend::TestBackend,
    check::{self, CheckFormat},
    cli::{Cli, Command, Description},
    config::{self, Config, ConfigErrors, Environment, Flags},
    control::{self, Loader, signals},
    demo,
    import::{self, Dialect, ImportError, Remark},
    migrate::{self, MigrateError},
    operate, telemetry,
    top::{self, TopArguments},
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
        Command::Check {
            file,
            format,
            flags,
        } => {
            let config = file.or(flags.config);
            check(&Flags { config, ..flags }, &environment, format)
        }
        Command::Import { file, from, strict } => run_import(&file, from, strict),
        Command::Healthcheck(flags) => {
            let admin = Config::admin_listen_if_readable(&flags, &environment);
            operate(admin, |admin| {
                let ready = admin_client::check_ready(admin);
                ready.map_err(|error| format!("not ready: {error}"))
            })
        }
        Command::Reload(flags) => {
            operate(Config::admin_listen(&flags, &environment), operate::reload)
        }
        Command::Stop(flags) => operate(Config::admin_listen(&flags, &environment), operate::stop),
        Command::Clients(mut command) => {
            let flags = command.flags().clone();
            ask_api(&flags, &environment, |api| api.clients(&command))
        }
        Command::Top(TopArguments { once, flags }) => {
            operate(Config::admin_listen(&flags, &environment), |admin| {
                top::run(admin, once)
            })
        }
        Command::Explain { arguments, flags } => {
            ask_api(&flags, &environment, |api| api.explain(&arguments))
        }
        Command::Migrate { direction, flags } => {
            let database = Config::database(&flags, &environment);
            match migrate::run(direction, database) {
                Ok(()) => ExitCode::from(OK),
                Err(MigrateError::Config(errors)) => fail(USAGE_OR_CONFIG, &errors),
                Err(error) => fail(USAGE_OR_CONFIG, &format!("error: {error}")),
            }
        }
        Command::Config(description) => describe(description),
        Command::Completions { shell } => print_completions(shell),
        Command::Man => print_manual(),
        Command::Backend(backend) => run_backend(backend),
        Command::Serve(flags) => {
            let loader = Loader {
                file: Config::file(&flags, &environment),
                load: Arc::new(move || Config::check(&flags, &environment)),
            };
            serve(loader, warn_of_the_example)
        }
        Command::Demo { http_listen, flags } => run_demo(http_listen, flags, environment),
    }
}

fn check(flags: &Flags, environment: &Environment, format: CheckFormat) -> ExitCode {
    let report = check::check(flags, environment, format);
    print(&report.output);
    let _closed = io::stderr().write_all(report.complaints.as_bytes());
    match report.is_valid {
        true => ExitCode::from(OK),
        false => ExitCode::from(USAGE_OR_CONFIG),
    }
}

fn run_import(file: &Path, from: Option<Dialect>, strict: bool) -> ExitCode {
    let name = match file.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    let text = match read_to_import(file) {
        Ok(text) => text,
        Err(error) => {
            return fail(
                USAGE_OR_CONFIG,
                &format!("error: cannot read {name}: {error}"),
            );
        }
    };
    let show = |remarks: &[Remark]| {
        for remark in remarks {
            say(&format!("{name}:{remark}"));
        }
    };
    match import::import(&name, &text, from) {
        Ok(imported) => {
            print(&imported.yaml);
            show(&imported.remarks);
            match strict && !imported.is_exact() {
                true => ExitCode::from(USAGE_OR_CONFIG),
                false => ExitCode::from(OK),
            }
        }
        Err(ImportError::Syntax(fault)) => {
            let place = format!("error: {name}:{}: {}", fault.line, fault.message);
            fail(USAGE_OR_CONFIG, &place)
        }
        Err(error) => {
            show(error.remarks());
            fail(USAGE_OR_CONFIG, &format!("error: {name}: {error}"))
        }
    }
}

/// Reads one byte more than an import takes at most.
fn read_to_import(file: &Path) -> io::Result<String> {
    let input: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file)?),
    };
    let mut bytes = Vec::new();
    let most = import::SIZE_MAX as u64 + 1;
    input.take(most).read_to_end(&mut bytes)?;
    // Old files have comments in other encodings.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command on the admin API of the running process.
fn ask_api(
    flags: &Flags,
    environment: &Environment,
    act: impl FnOnce(&Api) -> Result<(), ApiError>,
) -> ExitCode {
    let token = match environment.admin_token() {
        Ok(token) => token,
        Err(error) => {
            return fail(
                USAGE_OR_CONFIG,
                &format!("error: WEIR_ADMIN_TOKEN_FILE: {error}"),
            );
        }
    };
    operate(Config::admin_listen(flags, environment), |admin| {
        act(&Api { admin, token })
    })
}

/// Does something with the running process.
fn operate<E: Display>(
    admin: Result<SocketAddr, ConfigErrors>,
    act: impl FnOnce(SocketAddr) -> Result<(), E>,
) -> ExitCode {
    let admin = match admin {
        Ok(admin) => admin,
        Err(errors) => return fail(USAGE_OR_CONFIG, &errors),
    };
    match act(admin) {
        Ok(()) => ExitCode::from(OK),
        Err(error) => fail(USAGE_OR_CONFIG, &format!("error: {error}")),
    }
}

fn describe(description: Description) -> ExitCode {
    match description {
        Description::Schema => print(&format!("{:#}\n", config::schema())),
        Description::Reference => print(&config::reference()),
    }
    ExitCode::from(OK)
}

fn print_completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "weir", &mut script);
    let _closed = io::stdout().write_all(&script);
    ExitCode::from(OK)
}

fn print_manual() -> ExitCode {
    match clap_mangen::Man::new(Cli::command()).render(&mut io::stdout()) {
        Ok(()) => ExitCode::from(OK),
        Err(error) => fail(INTERNAL, &format!("error: {error}")),
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
    // Its directory is there until the end.
    let _kept = balancer.clone();
    let (flags, settings) = (demo::flags(flags, &environment), environment.clone());
    let load = move || {
        let mut checked = Config::check(&flags, &settings)?;
        checked.config = balancer.added_to(checked.config);
        Ok(checked)
    };
    let loader = Loader {
        load: Arc::new(load),
        file: None,
    };
    serve(loader, demo::show)
}

fn serve(loader: Loader, built: impl FnOnce(&App)) -> ExitCode {
    let checked = match (loader.load)() {
        Ok(checked) => checked,
        Err(errors) => return fail(USAGE_OR_CONFIG, &errors),
    };
    let _log = telemetry::init_logging(&checked.config.log);
    control::show_warnings(&checked.config);
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    if let Err(error) = signals::listen(command_sender) {
        return fail(INTERNAL, &format!("error: cannot handle signals: {error}"));
    }
    let app = match App::build(checked) {
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

fn fail(code: u8, message: &impl Display) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

/// Writes to standard output, which may be closed.
fn print(text: &str) {
    let _closed = io::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard error, which may be closed.
fn say(message: &impl Display) {
    let _closed = writeln!(io::stderr(), "{message}");
}

const OK: u8 = 0;
/// Bad usage, configuration or address; also: not ready.
const USAGE_OR_CONFIG: u8 = 1;
/// A fault of ours (`EX_SOFTWARE` of sysexits.h).
const INTERNAL: u8 = 70;
/// Signals that wait to be looked at.
const COMMANDS_MAX: usize = 8;
