mod object;
mod state;
mod support;
