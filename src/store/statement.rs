//! Statements that a pooler can carry.
//!
//! A statement with a name is known to one connection of the server alone, and a pooler that shares
//! connections between transactions gives the next transaction another one. So no statement has a
//! name, and each is within a transaction.

use sqlx::{
    Any, SqlSafeStr,
    any::AnyArguments,
    query::{Query, QueryScalar},
};

/// A statement.
pub(super) fn query(sql: impl SqlSafeStr) -> Query<'static, Any, AnyArguments> {
    sqlx::query(sql).persistent(false)
}

/// A statement that gives one column.
pub(super) fn scalar<T>(sql: impl SqlSafeStr) -> QueryScalar<'static, Any, T, AnyArguments>
where
    (T,): for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow>,
{
    sqlx::query_scalar(sql).persistent(false)
}
