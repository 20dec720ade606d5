//! The keys of checks that speak a server's own protocol: PostgreSQL, Redis, MySQL, or a line of text.

use crate::config::{
    MysqlProbe, Password, PostgresLogin, PostgresProbe, PostgresRole, RedisProbe, RedisRole,
    TextProbe,
    key::{Choice, Key, PasswordText, Span, Switch, Text},
    resolve::{DAY, MILLIS_100},
    section::Section,
};

pub(super) const TCP: Key<Switch> = Key::optional(
    "tcp",
    Switch,
    "a TCP connect",
    "Connects, and says and expects what `send` and `expect` have",
);
pub(super) const SEND: Key<Text<String, true>> = Key::optional(
    "send",
    Text {
        words: "text, in which `\"\\r\\n\"` ends a line",
        parse: some_text,
    },
    "nothing",
    "What a TCP check sends first",
);
pub(super) const EXPECT: Key<Text<String, true>> = Key::optional(
    "expect",
    Text {
        words: "text",
        parse: some_text,
    },
    "nothing",
    "What the first 16 KiB that the server of a TCP check sends must contain",
);
pub(super) const POSTGRES: Key<Choice<PostgresRole>> = Key::optional(
    "postgres",
    Choice(&[
        ("any", PostgresRole::Any),
        ("primary", PostgresRole::Primary),
        ("replica", PostgresRole::Replica),
    ]),
    "a TCP connect",
    "Asks a PostgreSQL server what it is: `any` needs no user, `primary` and `replica` do. Of several primaries, one is used",
);
pub(super) const MAX_LAG: Key<Span> = Key::optional(
    "max_lag",
    Span(MILLIS_100..=DAY),
    "unlimited",
    "The longest that a replica of PostgreSQL may be behind its primary. Needs a user",
);
pub(super) const REDIS: Key<Choice<RedisRole>> = Key::optional(
    "redis",
    Choice(&[("any", RedisRole::Any), ("primary", RedisRole::Primary)]),
    "a TCP connect",
    "Asks a server of Redis or Valkey: `any` by `PING`, `primary` by `ROLE`, too",
);
pub(super) const MYSQL: Key<Switch> = Key::optional(
    "mysql",
    Switch,
    "a TCP connect",
    "Reads the greeting of a server of MySQL or MariaDB. Give it a `user`, or the server counts each check as a failed connection",
);
pub(super) const USER: Key<Text<String, true>> = Key::optional(
    "user",
    Text {
        words: "name",
        parse: some_text,
    },
    "none",
    "The user of a PostgreSQL, Redis or MySQL check. It needs no rights but to connect; that of MySQL has no password",
);
pub(super) const PASSWORD: Key<PasswordText> = Key::optional(
    "password",
    PasswordText,
    "none",
    "The password of a PostgreSQL or Redis check",
);
pub(super) const DATABASE: Key<Text<String, true>> = Key::new(
    "database",
    Text {
        words: "name",
        parse: some_text,
    },
    "postgres",
    "The database that the `user` of a PostgreSQL check connects to",
);

/// Reads the keys of a TCP check; `None` without `tcp`.
pub(super) fn text_probe(section: &Section<'_>) -> Option<TextProbe> {
    for (key, message) in [
        (SEND.name, "send needs tcp: true"),
        (EXPECT.name, "expect needs tcp: true"),
    ] {
        section.require_for(key, &[TCP.name], message);
    }
    let tcp = section.given(&TCP);
    if tcp == Some(false) {
        let message = "health_check.tcp must be true; write health_check: off for no checks";
        section.fault_at(TCP.name, message.to_owned());
    }
    let (send, expect) = (section.given(&SEND), section.given(&EXPECT));
    if send.is_some() {
        section.require_for(
            SEND.name,
            &[EXPECT.name],
            "send needs expect, the answer that is good",
        );
    }
    tcp.map(|_true| TextProbe { send, expect })
}

/// Who asks a server.
#[derive(Clone, Debug)]
pub(super) struct Login {
    user: Option<String>,
    password: Option<Password>,
}

/// Reads the keys of logins, and reports them where no check knows them.
pub(super) fn login(section: &Section<'_>) -> Login {
    let users = [POSTGRES.name, REDIS.name, MYSQL.name];
    section.require_for(USER.name, &users, "user needs postgres, redis or mysql");
    section.require_for(PASSWORD.name, &users, "password needs postgres or redis");
    Login {
        user: section.given(&USER),
        password: section.given(&PASSWORD),
    }
}

/// Reads the keys of a PostgreSQL check; `None` without `postgres`.
pub(super) fn postgres_probe(section: &Section<'_>, login: &Login) -> Option<PostgresProbe> {
    for (key, message) in [
        (
            DATABASE.name,
            "database needs postgres: any, primary or replica",
        ),
        (MAX_LAG.name, "max_lag needs postgres: any or replica"),
    ] {
        section.require_for(key, &[POSTGRES.name], message);
    }
    let role = section.given(&POSTGRES);
    if matches!(role, Some(PostgresRole::Primary | PostgresRole::Replica)) {
        let message =
            "postgres: primary and postgres: replica need a user, as only a session knows the role";
        section.require_for(POSTGRES.name, &[USER.name], message);
    }
    if role == Some(PostgresRole::Primary) && section.has(MAX_LAG.name) {
        let message = "max_lag needs postgres: any or replica, as a primary does not lag";
        section.fault_at(MAX_LAG.name, message.to_owned());
    }
    if role.is_some() {
        section.require_for(
            MAX_LAG.name,
            &[USER.name],
            "max_lag needs a user, as only a session knows the position",
        );
        section.require_for(PASSWORD.name, &[USER.name], "password needs user");
    }
    let lag_max = section.given(&MAX_LAG);
    let has_user = role.is_some() && login.user.is_some();
    let database = match has_user || section.has(DATABASE.name) {
        true => section.get(&DATABASE),
        false => String::new(),
    };
    let Login { user, password } = login.clone();
    Some(PostgresProbe {
        role: role?,
        login: user.map(|user| PostgresLogin {
            user,
            password,
            database,
        }),
        lag_max,
    })
}

/// Reads the keys of a Redis check; `None` without `redis`.
pub(super) fn redis_probe(section: &Section<'_>, login: &Login) -> Option<RedisProbe> {
    let role = section.given(&REDIS)?;
    section.require_for(USER.name, &[PASSWORD.name], "user needs password");
    let Login { user, password } = login.clone();
    Some(RedisProbe {
        role,
        user,
        password,
    })
}

/// Reads the keys of a MySQL check; `None` without `mysql`.
pub(super) fn mysql_probe(section: &Section<'_>, login: &Login) -> Option<MysqlProbe> {
    let mysql = section.given(&MYSQL)?;
    if !mysql {
        let message = "health_check.mysql must be true; write health_check: off for no checks";
        section.fault_at(MYSQL.name, message.to_owned());
    }
    if section.has(PASSWORD.name) {
        let message = "password is for postgres and redis; the user of a MySQL check has none";
        section.fault_at(PASSWORD.name, message.to_owned());
    }
    let user = login.user.clone();
    Some(MysqlProbe { user })
}

fn some_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
