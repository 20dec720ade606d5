//! A path has one normal form, and that leads nowhere else.

use weir::route::normal_path;

/// Checks that the normal form of a path is its own normal form, without detours and below the
/// root. Returns whether there is one.
///
/// # Panics
///
/// If there is a second form.
pub fn path_has_one_normal_form(path: &str) -> bool {
    if !path.starts_with('/') {
        return false;
    }
    let Ok(normal) = normal_path(path) else {
        return false;
    };
    assert!(normal.starts_with('/'), "{path:?} is {normal:?}");
    let again = normal_path(&normal);
    assert_eq!(again.as_deref(), Ok(&*normal), "{path:?}");
    let mut segments = normal.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        assert!(!matches!(segment, "." | ".."), "{path:?} is {normal:?}");
        assert!(!segment.is_empty() || is_last, "{path:?} is {normal:?}");
    }
    true
}
