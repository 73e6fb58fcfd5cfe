"""The hooks that plugins implement, and the plugins that are installed."""
