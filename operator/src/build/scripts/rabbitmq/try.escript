%% Logs in by AMQP 0-9-1 as USER with PASSWORD, and opens the virtual host CHAT.
main(_) ->
    [Host, Port, User, Password, Chat] = [os:getenv(Name) || Name <-
        ["STORE_HOST", "STORE_PORT", "USER", "PASSWORD", "CHAT"]],
    Options = [binary, {active, false}],
    case gen_tcp:connect(Host, list_to_integer(Port), Options, 5000) of
        {ok, Socket} ->
            ok = gen_tcp:send(Socket, <<"AMQP", 0, 0, 9, 1>>),
            <<10:16, 10:16, _/binary>> = receive_method(Socket),
            send(Socket, start_ok(User, Password)),
            io:format("~s~n", [enter(Socket, Chat)]);
        {error, Reason} ->
            io:format("~p~n", [Reason])
    end.

enter(Socket, Chat) ->
    case receive_method(Socket) of
        <<10:16, 30:16, Limits:8/binary>> ->
            send(Socket, <<10:16, 31:16, Limits/binary>>),
            send(Socket, <<10:16, 40:16, (short(Chat))/binary, 0, 0>>),
            case receive_method(Socket) of
                <<10:16, 41:16, _/binary>> -> "accepted";
                <<10:16, 50:16, _:16, Size, Text:Size/binary, _/binary>> -> Text
            end;
        %% Access refused. The text is the same whether the user or the password is wrong.
        <<10:16, 50:16, 403:16, _/binary>> -> "refused"
    end.

%% With the wish to be told of a refusal, which is else a closed connection.
start_ok(User, Password) ->
    Capabilities = <<(short("authentication_failure_close"))/binary, $t, 1>>,
    Properties = <<(short("capabilities"))/binary, $F, (long(Capabilities))/binary>>,
    Login = iolist_to_binary([0, User, 0, Password]),
    <<10:16, 11:16, (long(Properties))/binary, (short("PLAIN"))/binary,
      (long(Login))/binary, (short("en_US"))/binary>>.

send(Socket, Method) ->
    ok = gen_tcp:send(Socket, <<1, 0:16, (long(Method))/binary, 16#CE>>).

receive_method(Socket) ->
    {ok, <<1, 0:16, Size:32>>} = gen_tcp:recv(Socket, 7, 5000),
    {ok, <<Method:Size/binary, 16#CE>>} = gen_tcp:recv(Socket, Size + 1, 5000),
    Method.

short(Text) ->
    Bytes = iolist_to_binary(Text),
    <<(byte_size(Bytes)), Bytes/binary>>.

long(Bytes) ->
    <<(byte_size(Bytes)):32, Bytes/binary>>.
