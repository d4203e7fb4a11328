# Makes a Schleuder list: ruby schleuder.rb LIST FINGERPRINT < subscribers
#
# SCHLEUDER_CONFIG and SCHLEUDER_LIST_DEFAULTS name its files. The list's folder has a GnuPG home
# with its key and the subscribers'. subscribers: "ADDRESS FINGERPRINT", one a line; the first is
# its administrator, whom Schleuder insists on.
$VERBOSE = nil
require "schleuder"

ActiveRecord::Migration.verbose = false
ActiveRecord::Schema.verbose = false
load "/usr/lib/ruby/vendor_ruby/schleuder/db/schema.rb"

address, fingerprint = ARGV
subscribers = $stdin.readlines.map(&:split)
list, = Schleuder::ListBuilder.new({ email: address, fingerprint: fingerprint },
                                   *subscribers.first).run
abort list.errors.full_messages.join("; ") if list.errors.any?

subscribers.drop(1).each do |one|
  subscription, = list.subscribe(*one, false, true)
  abort subscription.errors.full_messages.join("; ") if subscription.errors.any?
end
