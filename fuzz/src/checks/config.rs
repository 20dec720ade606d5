//! Any text is a configuration or has faults with places in it.

use weir::config::{Config, ConfigErrors, Diagnostic, Environment, Flags, Place};

/// Checks that a file with this text is read without a panic, and that each fault has its place in
/// the text and can be shown. Returns whether it is a configuration.
///
/// # Panics
///
/// If a fault has no place.
pub fn config_has_places_for_its_faults(text: &str) -> bool {
    let checked = Config::check_text(text, &Flags::default(), &Environment::default());
    match checked {
        Ok(checked) => {
            assert!(!checked.to_string().is_empty());
            checked
                .config
                .warnings
                .iter()
                .for_each(|warning| check(text, warning));
            true
        }
        Err(errors) => {
            check_all(text, &errors);
            false
        }
    }
}

fn check_all(text: &str, errors: &ConfigErrors) {
    assert!(!errors.diagnostics().is_empty());
    for diagnostic in errors.diagnostics() {
        check(text, diagnostic);
    }
    // All of them would be shown with all of the text each time.
    if let Some(first) = errors.diagnostics().first() {
        assert!(!first.to_string().is_empty());
    }
}

fn check(text: &str, diagnostic: &Diagnostic) {
    assert!(!diagnostic.message.is_empty());
    if let Place::File { bytes, .. } = &diagnostic.place {
        assert!(text.get(bytes.clone()).is_some(), "{diagnostic:?}");
        assert!(diagnostic.line_and_column().is_some(), "{diagnostic:?}");
    }
}
