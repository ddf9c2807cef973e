;; invalid module: it does not export `_start`; build it as a command
(module)
