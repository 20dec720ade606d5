mod open_redirect;
