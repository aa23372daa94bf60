package UwsgiWs::Psgi;

# A request to a PSGI application, and its response.
#
# Source: PSGI 1.1; the extensions are those of uWSGI's plugins/psgi.

use strict;
use warnings;

use Exporter qw(import);
use IO::Handle ();
use overload ();
use POSIX ();
use Scalar::Util qw(blessed reftype);

use UwsgiWs::Log qw(say_line);
use UwsgiWs::Process qw(error_text);
use UwsgiWs::Records qw(octets);

our @EXPORT_OK = qw(answer);

# Bytes of a file that are read at once.
use constant PIECE => 65_536;

# RFC 9110 5.6.2
my $TOKEN = qr/\A[!#\$%&'*+\-.^_`|~0-9A-Za-z]+\z/;

# Handle a request; return whether the process shall go on: an application may ask for a fresh one.
# Shared: the part of the environment that all requests have.
sub answer {
    my ($application, $connection, $shared) = @_;
    my $vars = $connection->open_request or return $connection->finish('') || 1;
    my $env = environment($vars, $shared, $connection);
    my $error = run($application, $env, $connection);
    end_copy($error) if !UwsgiWs::Process::is_ours();
    $connection->finish($error);
    for my $handler (@{ handlers($env) }) {
        my $is_done = eval { $handler->($env); 1 };
        end_copy('') if !UwsgiWs::Process::is_ours();
        say_line('[uwsgi-perl error] psgix.cleanup: ' . error_text($@)) if !$is_done;
    }
    return !$env->{'psgix.harakiri.commit'};
}

sub handlers {
    my ($env) = @_;
    my $handlers = $env->{'psgix.cleanup.handlers'};
    return ref $handlers eq 'ARRAY' ? $handlers : [];
}

# End a child that the application made by fork and let return: its parent answers.
sub end_copy {
    my ($error) = @_;
    say_line($error) if length $error;
    STDOUT->flush;
    POSIX::_exit(length $error ? 1 : 0);
    return;
}

sub environment {
    my ($vars, $shared, $connection) = @_;
    delete @{$vars}{qw(HTTP_CONTENT_LENGTH HTTP_CONTENT_TYPE)};
    return {
        %{$vars},
        %{$shared},
        'psgi.version' => [1, 1],
        'psgi.url_scheme' => ($vars->{HTTPS} // '') =~ /\A(?:on|1)/i ? 'https' : 'http',
        'psgi.input' => uwsgi::input->new($connection),
        'psgi.errors' => uwsgi::error->new,
        'psgix.logger' => \&log_message,
        'psgix.cleanup.handlers' => [],
    };
}

# What all requests have of the environment.
sub shared_environment {
    my ($has_siblings, $is_concurrent) = @_;
    return {
        'psgi.multithread' => '',
        'psgi.multiprocess' => $has_siblings,
        'psgi.run_once' => '',
        'psgi.nonblocking' => $is_concurrent,
        'psgi.streaming' => 1,
        'psgix.input.buffered' => '',
        'psgix.cleanup' => 1,
        'psgix.harakiri' => 1,
    };
}

sub log_message {
    my ($message) = @_;
    die "psgix.logger requires both level and message items\n"
        if !defined $message->{level} || !defined $message->{message};
    say_line("[uwsgi-perl $message->{level}] $message->{message}");
    return;
}

# Call the application and send its response. Returns '' or the error that ended it.
sub run {
    my ($application, $env, $connection) = @_;
    my $response = guarded($connection, $application, $env);
    return $response->{error} if defined $response->{error} || $connection->{is_websocket};
    # The body's own code runs in here, too.
    my $sending = guarded($connection, \&send_response, $connection, $response->{result}, $env);
    return $sending->{error} // '';
}

# Call a function of the application's; return its result, or what it died of.
sub guarded {
    my ($connection, $function, @arguments) = @_;
    my ($result, $is_done, $error);
    # `last` and `next` in an application, outside of any loop of its own, end this block.
    {
        $is_done = eval { $result = $function->(@arguments); 1 };
        $error = $@;
    }
    return { result => $result, error => $connection->{is_websocket} ? '' : undef } if $is_done;
    return { error => "[uwsgi-perl error] a `last` or `next` led out of the application" } if !defined $error;
    return { error => '' } if $connection->explains($error);
    return { error => '[uwsgi-perl error] ' . error_text($error) };
}

# Send what the application has returned. Dies where it is no response.
sub send_response {
    my ($connection, $response, $env) = @_;
    my $type = reftype($response) // '';
    return send_complete($connection, $response, $env) if $type eq 'ARRAY';
    die 'invalid PSGI response: ' . shown($response) . "\n" if $type ne 'CODE' && !is_callable($response);
    my $state = { connection => $connection, env => $env };
    my $responder = uwsgi::streaming->responder($state);
    $response->($responder);
    undef $responder;
    # Where requests run beside one another it may be called later, by a callback.
    until ($state->{is_over}) {
        last if !$UwsgiWs::Connection::Waiting->change_of($connection);
    }
    die "the application returned before it had called what it was given for its delayed response\n"
        if !$state->{has_head};
    return;
}

sub is_callable {
    my ($object) = @_;
    return blessed $object && overload::Method($object, '&{}');
}

sub shown {
    my ($value) = @_;
    return !defined $value ? 'undef' : ref $value ? ref($value) . ' reference' : "'" . substr($value, 0, 60) . "'";
}

# Send a response that is an array of status, headers and body.
sub send_complete {
    my ($connection, $response, $env) = @_;
    die sprintf "invalid PSGI response: an array of %d values, not of status, headers and body\n", scalar @{$response}
        if @{$response} != 3;
    my ($status, $headers, $body) = @{$response};
    my $pieces = ref $body eq 'ARRAY' ? join '', map { octets($_ // '') } @{$body} : undef;
    die 'invalid PSGI response body: ' . shown($body) . "\n" if !defined $pieces && !is_readable($body);
    send_head($connection, $status, $headers);
    my $has_body = $env->{REQUEST_METHOD} ne 'HEAD';
    if (defined $pieces) {
        $connection->send_body($pieces, 1) if $has_body;
        return;
    }
    send_from($connection, $body) if $has_body;
    $body->close if reftype($body) eq 'GLOB' || $body->can('close');
    return;
}

sub is_readable {
    my ($body) = @_;
    return ref $body && (reftype($body) eq 'GLOB' || reftype($body) eq 'IO' || blessed $body && $body->can('getline'));
}

# Send what a file, or an object with `getline`, holds.
sub send_from {
    my ($connection, $body) = @_;
    local $/ = \(PIECE);
    while (defined(my $piece = $body->getline)) {
        $connection->send_body(octets($piece)) or return;
    }
    return;
}

sub send_head {
    my ($connection, $status, $headers) = @_;
    die 'invalid PSGI status code: ' . shown($status) . "\n" if ($status // '') !~ /\A[1-9]\d\d(?: [^\r\n\0]*)?\z/;
    die 'invalid PSGI headers: ' . shown($headers) . ", not an array of names and values\n"
        if ref $headers ne 'ARRAY' || @{$headers} % 2;
    my @pairs = map { octets($_ // '') } @{$headers};
    for (my $at = 0 ; $at < @pairs ; $at += 2) {
        die 'invalid PSGI headers: the name ' . shown($pairs[$at]) . "\n" if $pairs[$at] !~ $TOKEN;
        die "invalid PSGI headers: the value of $pairs[$at]: " . UwsgiWs::Records::shown($pairs[$at + 1]) . "\n"
            if $pairs[$at + 1] =~ /[\r\n\0]/;
    }
    $connection->send_head($status, \@pairs);
    return;
}

# The request's body, pulled from the worker piece by piece.
package uwsgi::input;    ## no critic (Modules::ProhibitMultiplePackages)

use Scalar::Util qw(weaken);

sub new {
    my ($class, $connection) = @_;
    my $self = bless { connection => $connection, at => 0 }, $class;
    weaken $self->{connection};
    return $self;
}

# Read as many bytes as asked for, fewer only at the end; return how many.
sub read {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, undef, $size, $offset) = @_;
    die "Usage: \$env->{'psgi.input'}->read(BUFFER, LENGTH, OFFSET)\n" if @_ < 3;
    my $bytes = $self->take($size);
    $_[1] //= '';
    $offset //= 0;
    $offset = CORE::length($_[1]) + $offset if $offset < 0;
    $_[1] .= "\0" x ($offset - CORE::length $_[1]) if $offset > CORE::length $_[1];
    substr $_[1], $offset, CORE::length($_[1]) - $offset, $bytes;
    return CORE::length $bytes;
}

sub take {
    my ($self, $size) = @_;
    my $bytes = '';
    my $connection = $self->{connection} or return $bytes;
    while (CORE::length $bytes < $size) {
        my $piece = $connection->read_body($size - CORE::length $bytes);
        die "error during read($size) on psgi.input: " . ($connection->{body_error} // 'the client has gone') . "\n"
            if !defined $piece;
        last if $piece eq '';
        $bytes .= $piece;
    }
    $self->{at} += CORE::length $bytes;
    return $bytes;
}

# The body is not kept: it can be left where it is, and not read again.
sub seek {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $position, $whence) = @_;
    return !$whence && $position == $self->{at} ? 1 : '';
}

sub close { return 1 }    ## no critic (Subroutines::ProhibitBuiltinHomonyms)

# psgi.errors: the log.
package uwsgi::error;     ## no critic (Modules::ProhibitMultiplePackages)

sub new {
    my ($class) = @_;
    return bless {}, $class;
}

sub print {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, @pieces) = @_;
    UwsgiWs::Log::write_log(join '', map { $_ // '' } @pieces);
    return 1;
}

sub printf {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $format, @values) = @_;
    return $self->print(sprintf $format, @values);
}

# What an application is given for its delayed response, and what that gives for one in pieces.
package uwsgi::streaming;    ## no critic (Modules::ProhibitMultiplePackages)

# Return the function that a delayed response is handed to. State tells how far that has come.
sub responder {
    my ($class, $state) = @_;
    my $guard = bless { state => $state }, 'uwsgi::streaming::guard';
    return sub {
        my ($response) = @_;
        # The guard notices when this function is forgotten.
        my $own = $guard->{state};
        die "the response has been given already\n" if $own->{has_head};
        die 'invalid PSGI response: ' . UwsgiWs::Psgi::shown($response) . "\n" if ref $response ne 'ARRAY';
        if (@{$response} == 2) {
            UwsgiWs::Psgi::send_head($own->{connection}, @{$response});
            $own->{has_head} = 1;
            return bless { state => $own }, $class;
        }
        $own->{has_head} = 1;
        my $is_done = eval { UwsgiWs::Psgi::send_complete($own->{connection}, $response, $own->{env}); 1 };
        my $error = $@;
        $own->{has_head} = $own->{connection}{is_answered} if !$is_done;
        end($own);
        die $error if !$is_done;
        return;
    };
}

sub write {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self, $piece) = @_;
    my $state = $self->{state};
    die "the response has ended already\n" if $state->{is_over};
    return 1 if $state->{env}{REQUEST_METHOD} eq 'HEAD';
    $state->{connection}->send_body(UwsgiWs::Records::octets($piece // ''))
        or die "error while streaming PSGI response\n";
    return 1;
}

sub close {    ## no critic (Subroutines::ProhibitBuiltinHomonyms)
    my ($self) = @_;
    end($self->{state});
    return 1;
}

sub DESTROY {
    my ($self) = @_;
    end($self->{state});
    return;
}

sub end {
    my ($state) = @_;
    $state->{is_over} = 1;
    my $changed = $state->{connection}{changed};
    $changed->broadcast if $changed;
    return;
}

package uwsgi::streaming::guard;    ## no critic (Modules::ProhibitMultiplePackages)

sub DESTROY {
    my ($self) = @_;
    uwsgi::streaming::end($self->{state}) if !$self->{state}{has_head};
    return;
}

1;
