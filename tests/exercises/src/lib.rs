//! The exercises of the guide have solutions: `exercises/NN-NAME.patch`, against the step with that
//! number. The tests of this package apply each to a copy of its step, build it, and try it on the
//! classroom host.
