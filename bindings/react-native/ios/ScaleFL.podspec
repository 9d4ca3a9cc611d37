require 'json'

package = JSON.parse(File.read(File.join(__dir__, '..', 'package.json')))

# The Swift package (bindings/swift) as a pod: a release holds its sources and its library here.
unless File.directory?(File.join(__dir__, 'sdk', 'ScaleFLFFI.xcframework'))
  raise 'ios/sdk/ScaleFLFFI.xcframework is not here: use a release of @scale-fl/react-native, or make one on a Mac with ' \
        '`cargo xtask bindings --xcframework --react-native`'
end

Pod::Spec.new do |s|
  s.name = 'ScaleFL'
  s.version = package['version']
  s.summary = 'Federated learning on the phone'
  s.license = package['license']
  s.author = 'SCALE FL'
  s.homepage = 'https://github.com/scale-fl/scale-fl'
  s.source = { git: 'https://github.com/scale-fl/scale-fl.git', tag: "v#{s.version}" }
  s.platforms = { ios: '16.0' }
  # The generated part does not compile in the mode of Swift 6.
  s.swift_version = '5.10'
  s.static_framework = true
  s.source_files = 'sdk/ScaleFL/**/*.swift'
  s.resource_bundles = { 'ScaleFL' => ['sdk/ScaleFL/Resources/PrivacyInfo.xcprivacy'] }
  s.vendored_frameworks = 'sdk/ScaleFLFFI.xcframework'
end
