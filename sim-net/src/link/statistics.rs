//! Samples against closed forms.
