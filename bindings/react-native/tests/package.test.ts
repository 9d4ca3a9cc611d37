// What is published: the shared sources, that Hermes reads it, and what the config plugin makes of an app.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { place } from './support/places.js';

const require = createRequire(import.meta.url);
const PACKAGE = dirname(require.resolve('@scale-fl/react-native/package.json'));

const SHARED = ['types.ts', 'arguments.ts', 'errors.ts'];

test('types and the checks of arguments are those of the npm package for browsers', () => {
  for (const name of SHARED) {
    const [here, there] = [join(PACKAGE, 'src', name), join(place('SCALE_REPOSITORY'), 'wasm/package/src', name)];
    assert.equal(readFileSync(here, 'utf8'), readFileSync(there, 'utf8'), name);
  }
});

test('everything that the package names is in it, and no test', () => {
  const { files, main, types } = require('@scale-fl/react-native/package.json');
  const config = require('@scale-fl/react-native/expo-module.config.json');
  for (const path of [...files, main, types, ...config.apple.podspecPath]) {
    assert.ok(existsSync(join(PACKAGE, path)), `${path} is missing`);
  }
  const all = readdirSync(PACKAGE, { recursive: true }).map(String);
  assert.deepEqual(all.filter((path) => /(^|\/)(tests|tools|node_modules)(\/|$)/.test(path)), []);
  assert.ok(all.includes('android/src/main/java/io/scalefl/reactnative/ScaleFLModule.kt'), all.join(' '));
  assert.ok(all.includes('ios/ScaleFLModule.swift'), all.join(' '));
});

test('all of it has one version', () => {
  const { version } = require('@scale-fl/react-native/package.json');
  const repository = (path: string) => readFileSync(join(place('SCALE_REPOSITORY'), path), 'utf8');
  assert.match(readFileSync(join(PACKAGE, 'android/build.gradle'), 'utf8'), new RegExp(`^version = '${version}'$`, 'm'));
  assert.match(repository('Cargo.toml'), new RegExp(`^version = "${version}"$`, 'm'));
  assert.equal(JSON.parse(repository('wasm/package/package.json')).version, version);
});

test('both native modules have every call of the TypeScript, and the same identifier as the plugin', () => {
  const source = (path: string) => readFileSync(join(PACKAGE, path), 'utf8');
  const typescript = source('src/native.ts');
  const between = (from: string, to: string) => typescript.slice(typescript.indexOf(from), typescript.indexOf(to));
  const methods = [...between('type Method', 'type Answer').matchAll(/'(\w+)'/g)];
  const functions = [...between('interface Native', 'addListener').matchAll(/^  (\w+)\(/gm)].map(([, name]) => name);
  assert.equal(methods.length, 13);
  assert.equal(functions.length, 8);
  const kotlin = 'android/src/main/java/io/scalefl/reactnative/';
  for (const [clients, module] of [
    [source('ios/Clients.swift'), source('ios/ScaleFLModule.swift')],
    [source(`${kotlin}Clients.kt`), source(`${kotlin}ScaleFLModule.kt`)],
  ] as const) {
    for (const [, name] of methods) assert.ok(clients.includes(`"${name}"`), name);
    for (const name of functions) assert.match(module, new RegExp(`Function\\("${name}"\\)`));
  }
  const [, identifier] = /IDENTIFIER = '(.*)'/.exec(source('plugin/build/index.js')) ?? [];
  assert.ok(source('ios/RoundsInBackground.swift').includes(`identifier = "${identifier}"`), identifier);
});

test('Hermes compiles the bundled package', () => {
  const folder = mkdtempSync(join(tmpdir(), 'scale-hermes-'));
  try {
    const [bundle, bytecode] = [join(folder, 'bundle.js'), join(folder, 'bundle.hbc')];
    const esbuild = createRequire(join(place('SCALE_WEB_TOOLS'), 'package.json'))('esbuild');
    const entryPoints = [join(PACKAGE, 'build/index.js')];
    // The format without modules is the one that Metro makes, too. The rest stays as it is published.
    esbuild.buildSync({ entryPoints, bundle: true, format: 'cjs', target: 'es2022', external: ['expo'], outfile: bundle });
    const hermesc = join(dirname(require.resolve('hermes-compiler/package.json')), 'hermesc', hermes());
    execFileSync(hermesc, ['-emit-binary', '-out', bytecode, bundle], { stdio: 'pipe' });
    assert.ok(readFileSync(bytecode).length > 1000);
    assert.ok(!/\b(DOMException|structuredClone|BroadcastChannel|navigator)\b/.test(readFileSync(bundle, 'utf8')), 'what no phone has');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function hermes(): string {
  const folders: Record<string, string> = { linux: 'linux64-bin/hermesc', darwin: 'osx-bin/hermesc' };
  return folders[process.platform] ?? assert.fail(`there is no hermesc for ${process.platform}`);
}

for (const [title, options, before, expected] of [
  ['adds the task and the mode', undefined, {}, ['io.scalefl.rounds', 'processing']],
  ['adds them once', undefined, { UIBackgroundModes: ['audio', 'processing'] }, ['io.scalefl.rounds', 'audio,processing']],
  ['adds nothing when it is told so', { background: false }, {}, ['', '']],
] as const) {
  test(`the config plugin ${title}`, async () => {
    const { default: plugin } = require('@scale-fl/react-native/app.plugin.js');
    const { compileModsAsync } = require('expo/config-plugins');
    const app = { name: 'app', slug: 'app', ios: { bundleIdentifier: 'org.example.app', infoPlist: structuredClone(before) } };
    const projectRoot = mkdtempSync(join(tmpdir(), 'scale-plugin-'));
    try {
      const introspected = { projectRoot, platforms: ['ios'], introspect: true, assertMissingModProviders: false };
      const { ios } = await compileModsAsync(plugin(app, options), introspected);
      const list = (key: string) => String(ios.infoPlist[key] ?? '');
      assert.deepEqual([list('BGTaskSchedulerPermittedIdentifiers'), list('UIBackgroundModes')], expected);
    } finally {
      rmSync(projectRoot, { recursive: true });
    }
  });
}
