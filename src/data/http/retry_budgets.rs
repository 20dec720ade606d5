//! The retry budgets of one worker, one for each upstream.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use crate::retry::RetryBudget;

/// Budgets by the upstream's id. As many as the process ever had upstreams.
#[derive(Debug, Default)]
pub(in crate::data) struct RetryBudgets(RefCell<HashMap<usize, Rc<RetryBudget>>>);

impl RetryBudgets {
    /// The budget of an upstream. Costs a look-up.
    pub(super) fn of(&self, upstream: usize) -> Rc<RetryBudget> {
        Rc::clone(self.0.borrow_mut().entry(upstream).or_default())
    }
}
