require 'json'

package = JSON.parse(File.read(File.join(__dir__, '..', 'package.json')))

Pod::Spec.new do |s|
  s.name = 'ScaleFLReactNative'
  s.version = package['version']
  s.summary = package['description']
  s.license = package['license']
  s.author = 'SCALE FL'
  s.homepage = 'https://github.com/scale-fl/scale-fl'
  s.source = { git: 'https://github.com/scale-fl/scale-fl.git', tag: "v#{s.version}" }
  s.platforms = { ios: '16.0' }
  s.swift_version = '5.10'
  s.static_framework = true
  s.source_files = '*.swift'
  s.resource_bundles = { 'ScaleFLReactNative' => ['PrivacyInfo.xcprivacy'] }
  s.dependency 'ExpoModulesCore'
  s.dependency 'ScaleFL', s.version.to_s
end
