// Nothing for the package: it needs no configuration. Telemetry is off by a variable of the test.
export default {};
