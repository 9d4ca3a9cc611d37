// Where the test run has put things.

export function place(variable: string): string {
  const path = process.env[variable];
  if (path === undefined) throw new Error(`${variable} is not set: run the tests with \`cargo xtask bindings --react-native --test\``);
  return path;
}
